"""Seconds of the first compilation of each network, with an empty cache and with a filled one.

`python -m benchmarks.first NETWORK THREADS` compiles one at 224² and prints what it took as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.choice import chosen
from benchmarks.families import FAMILIES
from benchmarks.mobile import NETWORKS
from convsmith.machine import CACHE
from convsmith.report import Column, Table
from convsmith.runtime import compile

__all__ = ["options", "run", "tables"]

GOAL = 15.0
"""Seconds."""

ALL = {**NETWORKS, **FAMILIES}


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="of the network (%(default)s)")
    parser.add_argument("--only", default="", help="networks whose names contain this word")


def run(options: Namespace) -> dict[str, Any]:
    """Compile each network twice, in processes of its own that share a cache."""
    rows: list[dict[str, Any]] = []
    for name in chosen(ALL, options.only):
        with TemporaryDirectory() as cache:
            first, again = (_started(name, options.threads, cache) for _ in range(2))
            kernels = len(list(Path(cache).glob("*.so")))
        rows.append({"network": name, "first_s": first, "again_s": again, "kernels": kernels})
    late = [row for row in rows if row["first_s"] > GOAL]
    missed = [f"{row['network']}: {row['first_s']:.1f} s, not {GOAL:.0f}" for row in late]
    return {"rows": rows, "missed": missed}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    columns = (
        Column("network", "network"),
        Column("kernels", "files", align="right"),
        Column("first_s", "first time", align="right", format=_seconds),
        Column("again_s", "with a filled cache", align="right", format=_seconds),
    )
    return [
        Table(
            columns,
            result["rows"],
            title="Until a network is compiled",
            note="One image of 224² each, in a process of its own, PyTorch already imported; "
            f"'files' are kernels and the executor. Goal: {GOAL:.0f} s the first time.",
        )
    ]


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _started(name: str, threads: int, cache: str) -> float:
    words = [sys.executable, "-m", "benchmarks.first", name, str(threads)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={**os.environ, CACHE: cache}
    )
    return float(json.loads(done.stdout))


def _measure(name: str, threads: int) -> float:
    torch.manual_seed(0)
    model, image = ALL[name]().eval(), torch.rand(1, 3, 224, 224)
    begin = time.perf_counter()
    compile(model, image, threads=threads)
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
