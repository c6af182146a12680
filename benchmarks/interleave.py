"""Times of several calls, taken in turn, so that drift and other processes affect all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from threading import get_native_id
from time import perf_counter, sleep
from typing import Any

from convsmith.measure.latency import Latency

__all__ = ["interleaved", "timed"]

MOST = 60
"""The most rounds, however fast a call is."""

LEAST = 3
"""The fewest rounds, however slow a call is; but see `SLOW`."""

SLOW = ((5.0, 1), (1.5, 2))
"""Seconds per call from which fewer rounds have to do, and how many."""

SHORT = 0.03
"""Seconds per call below which it first runs once untimed: otherwise its figure would be that of
caches which another runtime has just filled."""

PATIENCE, GLANCE = 0.2, 0.001
"""Longest and shortest wait, in seconds, for threads that the previous runtime left spinning:
those of OpenMP keep a processor for 9 ms after a call, those of ONNX Runtime for 50 ms."""


def interleaved(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Latency]:
    """The median time of each call over rounds in which every call takes its turn.

    A call gets as many rounds as fit its share of the time; a slow one sits some rounds out, and
    these are spread evenly.

    Args:
        calls: by name; each has run before.
        seconds: for all of them together; the least number of rounds may take longer.
    """
    times: dict[str, list[float]] = {}
    wanted = {}
    for name, call in calls.items():
        took = timed(call)
        least = next((count for slow, count in SLOW if took >= slow), LEAST)
        times[name] = [] if least == LEAST else [took]
        share = seconds / len(calls) / (GLANCE + took * (2 if took < SHORT else 1))
        wanted[name] = max(least, min(MOST, int(share))) - len(times[name])
    rounds = max(wanted.values(), default=0)
    for turn in range(rounds):
        for name, call in calls.items():
            count = wanted[name]
            if (turn + 1) * count // rounds > turn * count // rounds:
                _settle()
                took = timed(call)
                times[name].append(timed(call) if took < SHORT else took)
    return {name: _latency(found) for name, found in times.items()}


def _settle() -> None:
    """Wait until no thread of this process is running but this one."""
    end = perf_counter() + PATIENCE
    while perf_counter() < end:
        sleep(GLANCE)
        if not any(map(_runs, _others())):
            return


def _others() -> list[Path]:
    """The files in /proc about the other threads; empty on systems without them."""
    here = Path("/proc/self/task")
    return [t for t in here.iterdir() if int(t.name) != get_native_id()] if here.exists() else []


def _runs(thread: Path) -> bool:
    try:
        # The name, in brackets, may hold anything; the state follows it.
        return (thread / "stat").read_text().rpartition(") ")[2].startswith("R")
    except OSError:
        return False  # it has ended meanwhile


def timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def _latency(seconds: list[float]) -> Latency:
    times = [1e3 * value for value in seconds]
    low, _, high = quantiles(times if len(times) > 1 else 2 * times, n=4, method="inclusive")
    return Latency(median(times), low, high, len(times))
