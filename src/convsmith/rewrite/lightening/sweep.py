"""Accuracy against milliseconds, over the range of targets."""

from __future__ import annotations

from typing import Any

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.report import Point, Step
from convsmith.rewrite.lightening.run import Attempt, Run
from convsmith.rewrite.lightening.target import Target

__all__ = ["curve", "within"]

_POINTS, _PROBES = 6, 5


def curve(run: Run, image: Any, clock: Clock) -> tuple[Point, ...]:
    """Networks from the original to the fastest that can be had, evenly on a scale of factors."""
    points = [Point(1.0, None, *_point(run.fidelity.original, run.model, image, clock))]
    fastest = run.decided("the fastest", run.selector.fastest)
    for step in range(1, _POINTS + 1):
        speedup = fastest ** (step / _POINTS)
        try:
            selection = run.choose(Target("speedup", speedup))
        except ArgumentError:
            break  # the table promised more than the whole network keeps
        attempt = run.attempt(selection)
        found = _point(attempt.near, attempt.model, image, clock)
        points.append(Point(speedup, selection.predicted, *found))
        run.say("tracing the curve", step, _POINTS)
    run.say("tracing the curve", _POINTS, _POINTS)
    return tuple(points)


def within(run: Run, drop: float) -> Attempt:
    """The fastest network that loses at most `drop`, by bisection over speed-ups.

    Raises:
        ArgumentError: if even the gentlest loses more, with what it loses.
    """
    before = _score(run.fidelity.original)
    low, high = 1.0, run.decided("the fastest", run.selector.fastest)
    best: Attempt | None = None
    lost: float | None = None
    for probe in range(_PROBES):
        speedup = (low * high) ** 0.5
        try:
            attempt = run.attempt(run.choose(Target("speedup", speedup)))
        except ArgumentError:
            high = speedup
            continue
        found = before - _score(attempt.near)
        if found <= drop:
            best, low = attempt, speedup
        else:
            high, lost = speedup, found
        run.say("bisecting", probe + 1, _PROBES)
    if best is None:
        why = "no network is faster here"
        if lost is not None:
            why = f"a speed-up of {high:.2f} already loses {lost:.3f}"
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
