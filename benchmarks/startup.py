"""Seconds until convsmith answers: whole processes, beside bare Python and `import torch`."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from convsmith.measure import latency
from convsmith.report import Column, Table, milliseconds

__all__ = ["options", "run", "tables"]

GOAL_MS = 200.0
HEAVY = ("torch", "numpy")
BARE = "python -c pass"


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=15, help="processes of each (%(default)s)")


def commands() -> dict[str, list[str]]:
    """What is started, by the name it is shown under; the goal is for those with convsmith."""
    python = sys.executable
    script = Path(python).with_name("convsmith")
    convsmith = [str(script)] if script.exists() else [python, "-m", "convsmith"]
    return {
        BARE: [python, "-c", "pass"],
        "import convsmith": [python, "-c", "import convsmith"],
        "import convsmith.arithmetic": [python, "-c", "import convsmith.arithmetic"],
        "convsmith --version": [*convsmith, "--version"],
        "convsmith --help": [*convsmith, "--help"],
        "import numpy": [python, "-c", "import numpy"],
        "import torch": [python, "-c", "import torch"],
    }


def run(options: Namespace) -> dict[str, Any]:
    """Start each in turn, and once more to see what it imports."""
    started = commands()
    times = latency(
        {name: partial(_start, words) for name, words in started.items()},
        seconds=0,
        minimum=options.runs,
    )
    bare = times[BARE].median_ms
    rows = []
    for name, words in started.items():
        modules = _imported(words)
        time = times[name]
        rows.append(
            {
                "command": name,
                "median_ms": time.median_ms,
                "low_ms": time.low_ms,
                "high_ms": time.high_ms,
                "runs": time.runs,
                "beyond_python_ms": None if name == BARE else time.median_ms - bare,
                "modules": len(modules),
                "imports": [heavy for heavy in HEAVY if heavy in modules],
                "goal_ms": GOAL_MS if "convsmith" in name else None,
            }
        )
    return {"rows": rows, "missed": [line for row in rows for line in _missed(row)]}


def _missed(row: dict[str, Any]) -> Iterator[str]:
    if row["goal_ms"] is None:
        return
    if row["median_ms"] >= row["goal_ms"]:
        yield f"{row['command']}: {row['median_ms']:.0f} ms, not under {row['goal_ms']:.0f}"
    for module in row["imports"]:
        yield f"{row['command']}: imports {module}"


def tables(result: dict[str, Any]) -> Sequence[Table]:
    def ms(key: str, title: str) -> Column:
        return Column(key, title, align="right", format=milliseconds)

    columns = (
        Column("command", "command"),
        ms("median_ms", "median"),
        ms("low_ms", "lower quartile"),
        ms("high_ms", "upper quartile"),
        ms("beyond_python_ms", "beyond Python"),
        Column("modules", "modules", align="right"),
        Column("imports", "imports", format=lambda names: " and ".join(names) or "neither"),
    )
    shown = [{column.key: row[column.key] for column in columns} for row in result["rows"]]
    runs = result["rows"][0]["runs"]
    return [
        Table(
            columns,
            shown,
            title="From the start of a process to its end",
            note=f"{runs} processes of each, in turn. 'imports': of torch and numpy. "
            f"Goal: under {GOAL_MS:.0f} ms and neither, for every line with convsmith.",
        )
    ]


def _start(words: Sequence[str], **variables: str) -> str:
    """Run a process to its end; return what it wrote to standard error."""
    return subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | variables
    ).stderr


def _imported(words: Sequence[str]) -> set[str]:
    """The modules that a process imports, as `-X importtime` reports them."""
    said = _start(words, PYTHONPROFILEIMPORTTIME="1")
    lines = (line for line in said.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}
