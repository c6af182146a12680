"""`convsmith explore`: from a key on a control to the changed page, in Chromium.

The clock runs in the page: from the key press, before anything else hears of it, to the frame after
the figures, and after the pictures, are those of the new value; each value is drawn for the first
time. The server and the browser share this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.chromium import browser
from convsmith.cli.output import talk
from convsmith.errors import ModelError
from convsmith.explore.serve import address, free_port
from convsmith.report import Column, Table, milliseconds

__all__ = ["options", "run", "tables"]

GOAL = 200.0
"""Milliseconds, for the median."""

# What is opened, and which slider is moved; every move is to a value that was not there before.
CASES = {
    "5×5, kernel 3×3: input size": ("size=5", "input size"),
    "6 channels of 12×12, padding 1: kernel": ("in=6&out=6&size=12&padding=1&kernel=1", "kernel"),
    "the exercise, 3×128×128 → 10: output channels": ("in=3&out=1&size=128", "output channels"),
    "transposed 4×4, stride 2, all views: kernel": (
        "kind=transposed&size=4&stride=2&kernel=2",
        "kernel",
    ),
    "max pooling 2×2: input size": ("kind=max&size=4&kernel=2&stride=2", "input size"),
}

# A frame after the figures have followed, and after every picture is another and is decoded.
_TIMER = """() => {
  const pictures = () => [...document.querySelectorAll(".cs-animation")];
  const drawn = () => pictures().every(e => e.complete) && pictures().map(e => e.alt).join("|");
  const told = () => document.querySelector(".cs-summary")?.textContent;
  const until = (read, before, start) => new Promise(resolve => {
    const look = () => {
      const now = read();
      if (start() && now && now !== before) {
        requestAnimationFrame(() => resolve(performance.now() - start()));
      } else requestAnimationFrame(look);
    };
    look();
  });
  let start = 0;
  document.addEventListener("keydown", () => { start = performance.now(); },
                            {capture: true, once: true});
  window.changed = Promise.all([told, drawn].map(read => until(read, read(), () => start)));
}"""


def options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=int, default=7, help="moves of each control, at most 8 (%(default)s)"
    )
    parser.add_argument("--browser", help="the Chromium to use, by default the first one found")


def run(options: Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with browser(options.browser) as chromium, served() as port:
        for name, (query, control) in CASES.items():
            talk(f"{name} …")
            page = chromium.new_page(viewport={"width": 1100, "height": 900})
            page.goto(f"{address(port)}?{query}")
            page.wait_for_selector(".cs-animation")
            slider = page.locator("marimo-slider", has_text=_label(control)).get_by_role("slider")
            slider.focus()
            moves = []
            for _ in range(min(options.runs, 8)):
                page.wait_for_timeout(150)
                page.evaluate(_TIMER)
                page.keyboard.press("ArrowRight")
                moves.append(page.evaluate("window.changed"))
            page.close()
            figures, pictures = zip(*moves, strict=True)
            rows.append(
                {
                    "case": name,
                    "figures": median(figures),
                    "pictures": median(pictures),
                    "worst": max(pictures),
                    "moves": moves,
                }
            )
    missed = [
        f"{row['case']}: {what} {row[what]:.0f} ms, goal {GOAL:.0f} ms"
        for row in rows
        for what in ("figures", "pictures")
        if row[what] > GOAL
    ]
    return {"rows": rows, "goal": GOAL, "missed": missed}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    columns = (
        Column("case", "a control moved"),
        Column("figures", "figures, median", align="right", format=milliseconds),
        Column("pictures", "pictures, median", align="right", format=milliseconds),
        Column("worst", "worst", align="right", format=milliseconds),
    )
    rows = [
        [row[key] for key in ("case", "figures", "pictures", "worst")] for row in result["rows"]
    ]
    return [Table(columns, rows, title="From the key to the changed page")]


@contextmanager
def served() -> Iterator[int]:
    """Run the explorer in a separate process; yield its port once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "convsmith", "explore", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        assert server.stderr is not None
        server.stderr.readline()
        _wait(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _wait(port: int, server: subprocess.Popen[str]) -> None:
    import socket
    import time

    for _ in range(600):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise ModelError(f"the explorer did not start on port {port}")


def _label(control: str) -> Any:
    import re

    return re.compile(control, re.IGNORECASE)
