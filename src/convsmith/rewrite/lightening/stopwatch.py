"""Times that repeat: calls run in turn with a reference until their quartiles have settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch

__all__ = ["Probe", "Settled", "on_grid", "reference", "settled", "timed"]

Probe = Callable[[], float]
"""Runs something once; the milliseconds that it took."""

_SPREAD = 0.02
_GRID = 0.02


@dataclass(frozen=True, slots=True)
class Settled:
    """What was seen of one call.

    Attributes:
        ms: the lower quartile: what it takes where nothing else disturbs it.
        median_ms: half of the runs took longer.
        high_ms: a quarter did.
        spread: how far the halves of the measurement lie apart, in relation to the reference.
        runs: how often it ran.
    """

    ms: float
    median_ms: float
    high_ms: float
    spread: float
    runs: int


def settled(
    probes: Mapping[str, Probe],
    *,
    spread: float = _SPREAD,
    least: int = 32,
    most: int = 256,
    enough_ms: float = 1000.0,
) -> dict[str, Settled]:
    """Run calls in turn until each one's time, in units of the first one's, repeats.

    Other processes slow down a run now and then, and a processor changes its pace: the first hits
    single runs, which a lower quartile leaves out, the second all calls alike, which their ratio
    leaves out. Measured is until this ratio is the same in the earlier and the later runs.

    Args:
        probes: what to run, the reference first.
        spread: how far both may lie apart, as a share.
        least: runs of each at least.
        most: runs of each at most.
        enough_ms: after so many milliseconds in all, the least number is enough.
    """
    for probe in probes.values():
        probe()
    times: dict[str, list[float]] = {name: [] for name in probes}
    spent = 0.0
    first = next(iter(probes))
    apart = dict.fromkeys(probes, float("inf"))
    for run in range(most):
        for name, probe in probes.items():
            times[name].append(probe())
            spent += times[name][-1]
        if run + 1 < least or (run + 1) % 4:
            continue
        apart = {name: _apart(values, times[first]) for name, values in times.items()}
        if max(apart.values()) <= spread or spent > enough_ms:
            break
    return {name: _settled(values, apart[name]) for name, values in times.items()}


def _settled(values: list[float], apart: float) -> Settled:
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Settled(low, median(values), high, apart, len(values))


def _apart(values: list[float], reference: list[float]) -> float:
    """How far the earlier and the later half lie apart, each in units of the reference then."""
    half = len(values) // 2
    ratios = [
        _low(values[part]) / _low(reference[part]) for part in (slice(half), slice(half, None))
    ]
    return abs(ratios[0] / ratios[1] - 1)


def _low(values: list[float]) -> float:
    return max(quantiles(values, n=4, method="inclusive")[0], 1e-9)


def on_grid(ms: float) -> float:
    """A time rounded to steps of 2 %: what is smaller is noise, and would decide.

    >>> on_grid(1.0), on_grid(1.004), round(on_grid(1.03), 4)
    (1.0, 1.0, 1.0202)
    """
    return exp(round(log(ms) / _GRID) * _GRID) if ms > 0 else ms


def timed(call: Callable[[], Any]) -> Probe:
    """A probe that times a call."""

    def probe() -> float:
        begin = perf_counter()
        call()
        return 1e3 * (perf_counter() - begin)

    return probe


def reference() -> Probe:
    """A fixed piece of work, partly arithmetic and partly memory, as convolutions are.

    Between two runs of a layer it also takes the layer's maps out of the nearest cache, as the
    other layers of a network do.
    """
    a, b, c = (torch.ones(224, 224) for _ in "abc")
    field = torch.zeros(2**19)

    def work() -> None:
        torch.mm(a, b, out=c)
        field.add_(1.0)

    return timed(work)
