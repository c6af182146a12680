"""Spans: half-open ranges of positions, one per dimension of a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from convsmith.arithmetic import Box, Positions

__all__ = [
    "Span", "Spans", "clip", "grid", "hull", "hull_of", "inside", "lengths", "positions", "slices",
    "volume", "whole",
]  # fmt: skip

Span = tuple[int, int]
Spans = tuple[Span, ...]


def whole(shape: Iterable[int]) -> Spans:
    """Every position of a tensor."""
    return tuple((0, length) for length in shape)


def hull(one: Spans, other: Spans) -> Spans:
    """The smallest spans that hold both.

    >>> hull(((0, 4),), ((6, 9),))
    ((0, 9),)
    """
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def hull_of(box: Box) -> Spans:
    """The smallest spans that hold a product of positions."""
    return tuple((axis.start, axis.stop) for axis in box)


def inside(axis: Positions, length: int) -> Span:
    """The smallest span that holds the positions in `[0, length)`; as `clip` if there are none.

    >>> inside(Positions.of([-1, 1, 3]), 9), inside(Positions.of([-2]), 9)
    ((1, 4), (0, 1))
    """
    within = axis.clip(0, length)
    return (within.start, within.stop) if within else clip((axis.start, axis.stop), length)


def positions(spans: Spans) -> Box:
    """The same as products of positions, which is what the rules of a network take."""
    return tuple(Positions.range(start, stop) for start, stop in spans)


def clip(span: Span, length: int) -> Span:
    """The part of a span that lies in `[0, length)`; the nearest position if there is none.

    >>> clip((-2, 3), 9), clip((-4, -1), 9), clip((11, 12), 9)
    ((0, 3), (0, 1), (8, 9))
    """
    start, stop = max(span[0], 0), min(span[1], length)
    if start < stop:
        return start, stop
    nearest = min(max(span[0], 0), length - 1)
    return nearest, nearest + 1


def lengths(spans: Spans) -> tuple[int, ...]:
    """How many positions each span has."""
    return tuple(stop - start for start, stop in spans)


def volume(spans: Spans) -> int:
    """How many positions their product has."""
    return prod(lengths(spans))


def slices(spans: Spans, origin: Sequence[int] | None = None) -> tuple[slice, ...]:
    """Index a tensor that begins at `origin` (0 unless given)."""
    starts = origin or (0,) * len(spans)
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), first in zip(spans, starts, strict=True)
    )


def grid(size: Sequence[int], step: Sequence[int]) -> list[list[Span]]:
    """Cut each axis of `size` into spans of `step`, the last one shorter.

    >>> grid((5,), (2,))
    [[(0, 2), (2, 4), (4, 5)]]
    """
    return [
        [(start, min(start + by, length)) for start in range(0, length, by)]
        for length, by in zip(size, step, strict=True)
    ]
