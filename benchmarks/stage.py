"""The live stage: from opening its file to the first paint and to its numbers, and from a hover to
its answer.

Each opening is a new page of one browser; its clock begins with the navigation. A hover is the
pointer over another cell, drawn at random; its time is that of the page's own work and layout.
The exported lessons, which hold stages, are opened in the same way: `lesson_pages` says until when.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import convsmith as cs
from benchmarks.chromium import browser
from benchmarks.lesson_pages import lesson_pages, readiness
from convsmith.cli.output import talk
from convsmith.report import Column, Table, milliseconds

__all__ = ["options", "run", "tables"]

PAINT, HOVER = 100.0, 16.0
"""Goals in milliseconds, for the medians of three layers on 16×16."""

READY = 1500.0
"""Goal in milliseconds, for the median of each lesson's page."""

_EMPTY, _THREE, _DEEP = "an empty page", "3 layers, 16×16", "WaveNet, 30 layers"

_HOVERS = """count => {
  const picture = document.querySelector(".picture"), times = [];
  if (!picture) return times;
  const box = picture.getBoundingClientRect();
  let seed = 1;
  const random = () => (seed = seed * 16807 % 2147483647) / 2147483647;
  for (let i = 0; i < 50 * count && times.length < count; i++) {
    const before = hand.under;
    const at = {clientX: box.left + random() * box.width, clientY: box.top + random() * box.height};
    const start = performance.now();
    picture.dispatchEvent(new PointerEvent("pointermove", {...at, bubbles: true}));
    picture.getBoundingClientRect();
    if (hand.hovered && hand.under !== before) times.push(performance.now() - start);
  }
  return times;
}"""
_PAINT = """() => new Promise(resolve => new PerformanceObserver((list) => {
  for (const entry of list.getEntries())
    if (entry.name === "first-contentful-paint") resolve(entry.startTime);
}).observe({type: "paint", buffered: true}))"""
# The first paint shows maps without numbers; they follow in the same go as the sum.
_NUMBERS = """() => new Promise(resolve => {
  const look = () => {
    const result = document.querySelector(".result");
    if (result?.textContent) resolve(performance.now());
    else if (!result && document.readyState === "complete") resolve(null);
    else setTimeout(look, 4);
  };
  look();
})"""


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=15, help="openings of each page (%(default)s)")
    parser.add_argument("--hovers", type=int, default=300, help="of each page (%(default)s)")
    parser.add_argument("--browser", help="the Chromium to use, by default the first one found")


def run(options: Namespace) -> dict[str, Any]:
    paints: dict[str, list[float]] = {}
    numbers: dict[str, list[float]] = {}
    hovers: dict[str, list[float]] = {}
    controls: dict[str, list[float]] = {}
    stages: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder, browser(options.browser) as chromium:
        pages = _pages(Path(folder))
        lessons = lesson_pages(Path(folder, "lessons"))
        for number in range(options.runs):  # in turn, so that a slow moment meets all
            talk(f"opening {number + 1} of {options.runs} …")
            for name, path in pages.items():
                page = chromium.new_page(viewport={"width": 1280, "height": 900})
                page.goto(path.as_uri(), wait_until="commit")
                written = page.evaluate(_NUMBERS)
                if written is not None:
                    numbers.setdefault(name, []).append(written)
                paints.setdefault(name, []).append(page.evaluate(_PAINT))
                if number == options.runs - 1:
                    hovers[name] = page.evaluate(_HOVERS, options.hovers)
                page.close()
            for name, path in lessons.items():
                control, stage = readiness(chromium, path)
                controls.setdefault(name, []).append(control)
                stages.setdefault(name, []).append(stage)
    rows: list[dict[str, Any]] = [
        {
            "case": name,
            "paint": median(paints[name]),
            "slowest": max(paints[name]),
            "numbers": median(numbers[name]) if name in numbers else None,
            "hover": median(hovers[name]) if hovers[name] else None,
            "tail": quantiles(hovers[name], n=20)[-1] if hovers[name] else None,
        }
        for name in pages
    ]
    goals = (("paint", PAINT, "first paint"), ("hover", HOVER, "a hover"))
    (three,) = (row for row in rows if row["case"] == _THREE)
    missed = [
        f"{_THREE}: {what} {three[key]:.0f} ms, goal {goal:.0f} ms"
        for key, goal, what in goals
        if three[key] > goal
    ]
    ready: list[dict[str, Any]] = [
        {
            "case": name,
            "control": median(controls[name]),
            "slowest": max(controls[name]),
            "stage": median(stages[name]),
            "last": max(stages[name]),
        }
        for name in lessons
    ]
    missed += [
        f"{row['case']}: {what} {row[key]:.0f} ms, goal {READY:.0f} ms"
        for row in ready
        for key, what in (("control", "an exercise answers"), ("stage", "a stage answers"))
        if row[key] > READY
    ]
    return {"rows": rows, "lessons": ready, "goals": [PAINT, HOVER, READY], "missed": missed}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    columns = (
        Column("case", "page"),
        Column("paint", "first paint, median", align="right", format=milliseconds),
        Column("slowest", "slowest", align="right", format=milliseconds),
        Column("numbers", "its numbers, median", align="right", format=milliseconds),
        Column("hover", "hover, median", align="right", format=milliseconds),
        Column("tail", "95 %", align="right", format=milliseconds),
    )
    ready = (
        Column("case", "page"),
        Column("control", "an exercise answers, median", align="right", format=milliseconds),
        Column("slowest", "slowest", align="right", format=milliseconds),
        Column("stage", "its first stage, median", align="right", format=milliseconds),
        Column("last", "slowest", align="right", format=milliseconds),
    )
    return [
        _table(columns, result["rows"], "Stages"),
        _table(ready, result["lessons"], "Lessons, from a disk"),
    ]


def _table(columns: Sequence[Column], rows: Sequence[dict[str, Any]], title: str) -> Table:
    return Table(columns, [[row[column.key] for column in columns] for row in rows], title=title)


def _pages(folder: Path) -> dict[str, Path]:
    three = cs.draw.stage([cs.Conv(1, 1, 3, padding=1)] * 3, (16, 16))
    deep = cs.draw.stage(
        [cs.Conv(1, 1, 2, dilation=2 ** (i % 10), dims=1) for i in range(30)], 3072
    )
    empty = folder / "empty.html"
    empty.write_text("<!doctype html><title>empty</title><p>empty</p>", encoding="utf-8")
    return {
        _EMPTY: empty,
        _THREE: three.save(folder / "three.html"),
        _DEEP: deep.save(folder / "deep.html"),
    }
