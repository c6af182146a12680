"""Milliseconds, measured: medians of interleaved runs, so that drift hits every candidate alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from convsmith.errors import ArgumentError
from convsmith.report import Result

__all__ = ["Latency", "latency"]


@dataclass(frozen=True, slots=True)
class Latency(Result):
    """The time of one call, over several runs.

    Attributes:
        median_ms: the figure to quote, in milliseconds.
        low_ms: the fastest quarter lies below this.
        high_ms: the slowest quarter lies above this.
        runs: how many calls were timed.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int

    def __repr__(self) -> str:
        return f"Latency({self.median_ms:.3f} ms, quartiles {self.low_ms:.3f} … {self.high_ms:.3f})"


def latency(
    calls: Mapping[str, Callable[[], Any]], *, seconds: float = 1.0, minimum: int = 5
) -> dict[str, Latency]:
    """Time several calls in turn: A B C A B C …, after one warm-up of each.

    Args:
        calls: what to run, by name.
        seconds: the time to spend on all of them together; the minimum of runs may take longer.
        minimum: the least number of runs of each.

    Raises:
        ArgumentError: if there is nothing to time.

    >>> sorted(latency({"sum": lambda: sum(range(99))}, seconds=0.01)["sum"].__slots__)
    ['high_ms', 'low_ms', 'median_ms', 'runs']
    """
    if not calls or minimum < 2:
        raise ArgumentError(f"latency needs something to time and 2 runs, not {minimum}")
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    begin = perf_counter()
    runs = 0
    while runs < minimum or perf_counter() - begin < seconds:
        for name, call in calls.items():
            start = perf_counter()
            call()
            times[name].append(1e3 * (perf_counter() - start))
        runs += 1
    result = {}
    for name, values in times.items():
        low, _, high = quantiles(values, n=4, method="inclusive")
        result[name] = Latency(median(values), low, high, len(values))
    return result
