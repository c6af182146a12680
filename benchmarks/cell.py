"""One cell of a performance table: a network on one input, run by every runtime in turn."""

from __future__ import annotations

import gc
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from benchmarks.interleave import interleaved
from benchmarks.runtimes import CONVSMITH, NARROW, RUNTIMES, error_of, prepare
from convsmith.errors import ArgumentError
from convsmith.report import Column, milliseconds

__all__ = [
    "PEERS", "best_peer", "chosen_runtimes", "columns", "limited", "measured", "median", "options",
    "ratio", "reasons",
]  # fmt: skip

PEERS = tuple(runtime.name for runtime in RUNTIMES if runtime.peer)


def options(parser: ArgumentParser, seconds: float) -> None:
    """The options that all performance benchmarks share."""
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of every runtime (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="timing per cell (%(default)s)"
    )
    parser.add_argument(
        "--runtimes", default="", metavar="NAME,...", help="only these runtimes, besides eager"
    )
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only cells with WORD in the name"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="bf16: beside OpenVINO's, autocast and int8 (%(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="only a few cells")


def chosen_runtimes(options: Namespace) -> str:
    """The runtimes of a run, as `measured` takes them: those that are named, or all of bf16."""
    return str(options.runtimes or (",".join(NARROW) if options.precision == "bf16" else ""))


def measured(
    model: nn.Module,
    example: Tensor,
    threads: int,
    seconds: float,
    names: str = "",
    exact: Tensor | None = None,
) -> dict[str, Any]:
    """Medians by runtime, each result's error, and why a runtime is missing.

    Errors are against `exact`, or against eager where that is not given.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := set(wanted) - {runtime.name for runtime in RUNTIMES}:
        known = ", ".join(runtime.name for runtime in RUNTIMES)
        raise ArgumentError(f"no runtime {unknown.pop()!r}; there are {known}")
    ready = prepare(model, example, threads, wanted)
    true = ready.values["eager"] if exact is None else exact
    errors = {name: error_of(value, true) for name, value in ready.values.items()}
    found = {
        "times": {n: asdict(t) for n, t in interleaved(ready.calls, seconds).items()},
        "errors": errors,
        "reasons": dict(ready.reasons),
    }
    del ready
    gc.collect()
    return found


def median(cell: Mapping[str, Any], name: str) -> float | None:
    """The median of a runtime in milliseconds, None where it failed."""
    time = cell["times"].get(name)
    return None if time is None else float(time["median_ms"])


def best_peer(cell: Mapping[str, Any]) -> tuple[str, float] | None:
    """The fastest fp32 peer and its milliseconds."""
    times = [(ms, name) for name in PEERS if (ms := median(cell, name)) is not None]
    return (min(times)[1], min(times)[0]) if times else None


def ratio(cell: Mapping[str, Any], name: str | None = None) -> float | None:
    """A peer's time as a multiple of convsmith's; the best peer unless one is named."""
    ours, best = median(cell, CONVSMITH), best_peer(cell)
    theirs = (best[1] if best else None) if name is None else median(cell, name)
    return None if ours is None or theirs is None else theirs / ours


def limited(gflop: float, gbyte: float, ms: float, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The share of its limit that a call reaches: arithmetic or bandwidth, whichever binds."""
    arithmetic, bandwidth = gflop / limits["gflops"], gbyte / limits["gb_s"]
    return {
        "gflop_s": gflop / ms * 1e3,
        "gb_s": gbyte / ms * 1e3,
        "binding": "arithmetic" if arithmetic >= bandwidth else "bandwidth",
        "share": max(arithmetic, bandwidth) / ms * 1e3,
    }


def columns(cells: Sequence[Mapping[str, Any]]) -> list[Column]:
    """A column of milliseconds for each runtime that appears in any of the cells."""
    names = [r.name for r in RUNTIMES if any(r.name in cell["times"] for cell in cells)]
    return [Column(name, name, align="right", format=milliseconds) for name in names]


def reasons(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Why runtimes are missing: each reason once, with the first cell where it occurs."""
    found: dict[tuple[str, str], list[str]] = {}
    for title, cell in cells.items():
        for name, reason in cell["reasons"].items():
            found.setdefault((name, reason), []).append(title)
    return "; ".join(
        f"{name} fails in {where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''}: "
        f"{reason}"
        for (name, reason), where in found.items()
    )
