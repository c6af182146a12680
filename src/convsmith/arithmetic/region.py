"""Exact sets of positions in several axes: a short list of products of one set an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import or_
from typing import Any

from convsmith.arithmetic.positions import Positions

__all__ = ["Box", "Region", "joined", "joined_by", "outermost", "shortened"]

Box = tuple[Positions, ...]
"""The product of one set an axis: every combination of their positions."""


@dataclass(frozen=True, init=False, repr=False)
class Region:
    """The union of products of per-axis sets, in few of them.

    A single product cannot say what parallel dilated branches read together. Their union stays
    exact and short: most branches of a network lie inside one another, and products that differ
    along one axis are joined.

    >>> one, far = Positions.of([0]), Positions.of([-6, 0, 6])
    >>> Region([(one, one), (far, far)]).count()
    9
    """

    boxes: tuple[Box, ...]

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        found = joined(boxes)
        object.__setattr__(self, "boxes", tuple(found[i] for i in outermost(found)))

    @property
    def hull(self) -> tuple[tuple[int, int], ...]:
        """The smallest range `(start, stop)` an axis that holds everything; () if empty."""
        return tuple(
            (min(p.start for p in axis), max(p.stop for p in axis))
            for axis in zip(*self.boxes, strict=True)
        )

    def project(self, axes: Iterable[int]) -> Region:
        """The region seen along some axes only, the others forgotten."""
        chosen = list(axes)
        return Region(tuple(box[axis] for axis in chosen) for box in self.boxes)

    def along(self, axis: int) -> Positions:
        """Every position that occurs along one axis."""
        return reduce(lambda a, b: a | b, (box[axis] for box in self.boxes), Positions())

    def count(self) -> int:
        """The number of different positions.

        Rows with the same columns are counted together, axis by axis, so the time depends on how
        many different rows there are and not on how large the region is.
        """
        return _count(self.boxes)

    def __or__(self, other: Region) -> Region:
        return Region((*self.boxes, *other.boxes))

    def __contains__(self, position: tuple[int, ...]) -> bool:
        return any(all(p in axis for p, axis in zip(position, box, strict=True)) for box in self)

    def __iter__(self) -> Iterator[Box]:
        return iter(self.boxes)

    def __bool__(self) -> bool:
        return bool(self.boxes)

    def __repr__(self) -> str:
        return f"Region({list(self.boxes)!r})"


def joined(boxes: Iterable[Box]) -> list[Box]:
    """The same union in fewer products: those that differ along one axis become one.

    >>> low, high = Positions.range(0, 2), Positions.range(2, 4)
    >>> joined([(low, low), (high, low), (low, high), (high, high)])
    [(Positions(0 … 3), Positions(0 … 3))]
    """
    return joined_by(or_, dict.fromkeys(tuple(box) for box in boxes if all(box)))


def joined_by(
    either: Callable[[Any, Any], Any], products: Iterable[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Products of sets of any kind, of which those that differ in one factor become one.

    The time is linear in the number of products, so that it can be called on thousands.

    Args:
        either: the union of two factors.
        products: all with as many factors.
    """
    found = list(products)
    number = len(found) + 1
    while 1 < len(found) < number:
        number = len(found)
        for factor in range(len(found[0])):
            found = _joined_along(found, factor, either)
    return found


def shortened(boxes: Iterable[Box], most: int) -> tuple[Region, bool]:
    """The union, or the one product that holds it where it takes more than `most`; and whether so.

    >>> corners = [(Positions.of([i]), Positions.of([i])) for i in range(3)]
    >>> shortened(corners, 2)
    (Region([(Positions(0 … 2), Positions(0 … 2))]), True)
    """
    found = joined(boxes)
    if len(found) <= 4 * most:  # products are compared with one another for a limited time, too
        region = Region(found)
        if len(region.boxes) <= most:
            return region, False
    axes = zip(*found, strict=True)
    return Region([tuple(reduce(lambda a, b: a | b, axis) for axis in axes)]), True


def _joined_along(
    products: list[tuple[Any, ...]], factor: int, either: Callable[[Any, Any], Any]
) -> list[tuple[Any, ...]]:
    """Products that are equal in all other factors, as one."""
    alike: dict[tuple[Any, ...], Any] = {}
    for product in products:
        others = product[:factor], product[factor + 1 :]
        own = product[factor]
        alike[others] = either(alike[others], own) if others in alike else own
    return [(*before, own, *after) for (before, after), own in alike.items()]


def outermost(boxes: Sequence[Box]) -> list[int]:
    """The numbers of the products that lie in no other one, in order."""
    # A larger product cannot lie in a smaller one.
    sizes = [sum(map(len, box)) for box in boxes]
    kept: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda i: -sizes[i]):
        if not any(_inside(boxes[number], boxes[other]) for other in kept):
            kept.append(number)
    return sorted(kept)


def _inside(box: Box, other: Box) -> bool:
    for a, b in zip(box, other, strict=True):  # noqa: SIM110 - a generator takes twice as long
        if a is not b and not a <= b:
            return False
    return True


def _count(boxes: tuple[Box, ...]) -> int:
    if len(boxes) < 2:
        return prod(map(len, boxes[0])) if boxes else 0
    # Cut the first axis into parts on which the same boxes lie.
    every = reduce(lambda a, b: a | b, (box[0] for box in boxes))
    cut: dict[tuple[int, ...], Positions] = {(): every}
    for index, box in enumerate(boxes):
        finer: dict[tuple[int, ...], Positions] = {}
        for members, positions in cut.items():
            if inner := positions & box[0]:
                finer[(*members, index)] = inner
            if outer := positions - box[0]:
                finer[members] = outer
        cut = finer
    total = 0
    for members, positions in cut.items():
        rest = Region(boxes[index][1:] for index in members) if len(boxes[0]) > 1 else None
        total += len(positions) * (rest.count() if rest is not None else bool(members))
    return total
