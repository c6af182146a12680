"""The rows of a run: each is reported, and kept in the run's file, as soon as it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

from convsmith.cli.output import talk
from convsmith.report import milliseconds

__all__ = ["gathered", "kept"]

T = TypeVar("T")
Figures = dict[str, Any]

_WRITERS: list[Callable[[Figures], None]] = []


@contextmanager
def kept(write: Callable[[Figures], None]) -> Iterator[None]:
    """Hand the figures so far to `write` after each row: a run that is cut off is not lost."""
    _WRITERS.append(write)
    try:
        yield
    finally:
        _WRITERS.pop()


def gathered(
    cells: Mapping[str, T],
    measure: Callable[[T], Figures],
    result: Callable[[list[Figures]], Figures],
) -> Figures:
    """Measure one cell after the other.

    Args:
        cells: by name.
        measure: gives the row of a cell.
        result: gives the figures of a run from its rows, also from the first few of them.
    """
    rows: list[Figures] = []
    for number, (name, cell) in enumerate(cells.items(), 1):
        start = perf_counter()
        rows.append(measure(cell))
        of = f"{number} of {len(cells)}"
        talk(f"{of}, {perf_counter() - start:.0f} s: {name}{_times(rows[-1])}")
        for write in _WRITERS:
            write({**result(rows), "missed": [f"the run was cut off after {of} cells"]})
    return result(rows)


def _times(row: Figures) -> str:
    """The medians of a row, where it has such."""
    return "".join(
        f", {name} {milliseconds(time['median_ms'])}" for name, time in row.get("times", {}).items()
    )
