"""Accuracy against milliseconds, over the range of targets."""

from __future__ import annotations

from typing import Any

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.attempts import Attempt, Attempts
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.report import Point, Step
from convsmith.rewrite.lightening.target import Target

__all__ = ["curve", "within"]

_POINTS, _PROBES = 6, 5


def curve(attempts: Attempts, image: Any, clock: Clock) -> tuple[Point, ...]:
    """Networks from the original to the fastest that can be had, evenly on a scale of factors."""
    points = [Point(1.0, None, *_point(attempts.fidelity.original, attempts.model, image, clock))]
    fastest = attempts.remembered("the fastest", attempts.selector.fastest)
    for step in range(1, _POINTS + 1):
        speedup = fastest ** (step / _POINTS)
        try:
            selection = attempts.choose(Target("speedup", speedup))
        except ArgumentError:
            break  # the table promised more than the whole network keeps
        attempt = attempts.attempt(selection)
        found = _point(attempt.fidelity, attempt.model, image, clock)
        points.append(Point(speedup, selection.predicted, *found))
        attempts.progress("tracing the curve", step, _POINTS)
    attempts.progress("tracing the curve", _POINTS, _POINTS)
    return tuple(points)


def within(attempts: Attempts, drop: float) -> Attempt:
    """The fastest network that loses at most `drop`, by bisection over speed-ups.

    Raises:
        ArgumentError: if even the gentlest loses more, with what it loses.
    """
    before = _score(attempts.fidelity.original)
    low, high = 1.0, attempts.remembered("the fastest", attempts.selector.fastest)
    best: Attempt | None = None
    lost: float | None = None
    for probe in range(_PROBES):
        speedup = (low * high) ** 0.5
        try:
            attempt = attempts.attempt(attempts.choose(Target("speedup", speedup)))
        except ArgumentError:
            high = speedup
            continue
        found = before - _score(attempt.fidelity)
        if found <= drop:
            best, low = attempt, speedup
        else:
            high, lost = speedup, found
        attempts.progress("bisecting", probe + 1, _PROBES)
    if best is None:
        why = "no network is faster here"
        if lost is not None:
            factor = f"{high:.2f}"
            change = f"a speed-up of {factor}" if float(factor) > 1 else "the gentlest change"
            why = f"{change} already loses {lost:.3f}"
        raise ArgumentError(f"max_drop={drop:g} cannot be met: {why}")
    return best


def _score(step: Step) -> float:
    """Accuracy, or agreement, or else the share of the output's variance that is kept."""
    if step.accuracy is not None:
        return step.accuracy
    if step.agreement is not None:
        return step.agreement
    return 1.0 - (step.error or 0.0)


def _point(
    step: Step, model: Any, image: Any, clock: Clock
) -> tuple[float, float | None, float | None, float | None]:
    """Milliseconds, and how near to the original."""
    ms = clock.networks({"model": model}, image)["model"].median_ms
    return ms, step.error, step.agreement, step.accuracy
