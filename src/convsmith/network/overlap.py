"""Two views of the same memory: which positions of one lie where the other was written.

A view is a shape, a stride per dimension and an offset. Where the dimensions of both run along
those of the tensor that owns the memory, products of positions map to products, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from convsmith.arithmetic import Box, Positions
from convsmith.network.shapes import Shape, flattened, unflattened, whole

__all__ = ["Overlap", "Strided", "minus", "overlap"]


@dataclass(frozen=True)
class Strided:
    """How a tensor lies in its memory, in elements."""

    shape: Shape
    strides: Shape
    offset: int


@dataclass(frozen=True)
class _Way:
    """A dimension of a view: the dimensions of memory it runs along, and its step."""

    dims: tuple[int, ...]
    step: int


@dataclass(frozen=True)
class _Laid:
    """A view laid out along the dimensions of its memory, slowest first.

    Attributes:
        shape: of the view.
        memory: the lengths of the dimensions of the memory.
        ways: one per dimension of the view; None for one of length 1 or that repeats its values.
        starts: where the view begins along each dimension of the memory.
    """

    shape: Shape
    memory: Shape
    ways: tuple[_Way | None, ...]
    starts: Shape

    def out(self, box: Box) -> list[Box]:
        """Where positions of the view lie in memory."""
        options: list[list[dict[int, Positions]]] = []
        for positions, way in zip(box, self.ways, strict=True):
            if way is None:
                continue
            if len(way.dims) == 1:
                (dim,) = way.dims
                moved = positions.scale(way.step).shift(self.starts[dim])
                options.append([{dim: moved}])
            else:
                lengths = [self.memory[d] for d in way.dims]
                parts = unflattened(positions, lengths)
                options.append([dict(zip(way.dims, part, strict=True)) for part in parts])
        found = []
        for choice in product(*options):
            places = {dim: axis for part in choice for dim, axis in part.items()}
            found.append(tuple(places.get(d, Positions.of([s])) for d, s in enumerate(self.starts)))
        return found

    def back(self, box: Box, *, bounded: bool = True) -> Box | None:
        """Which positions of the view lie at positions of the memory; None where there are none."""
        used = {dim for way in self.ways if way for dim in way.dims}
        if any(self.starts[d] not in box[d] for d in range(len(box)) if d not in used):
            return None
        found = []
        for way, length in zip(self.ways, self.shape, strict=True):
            if way is None:
                found.append(Positions.range(0, length))
                continue
            if len(way.dims) == 1:
                (dim,) = way.dims
                moved = box[dim].shift(-self.starts[dim]).divide(way.step)
                found.append(moved.clip(0, length) if bounded else moved)
            else:
                lengths = [self.memory[d] for d in way.dims]
                found.append(flattened([box[d] for d in way.dims], lengths).clip(0, length))
        return tuple(found) if all(found) else None


@dataclass(frozen=True)
class Overlap:
    """A view that is read, and another one of the same memory that was written meanwhile."""

    read: _Laid
    written: _Laid

    def new(self, box: Box) -> list[Box]:
        """Positions of the written view that positions of the read one now show."""
        hits = (self.written.back(part) for part in self.read.out(box))
        return [hit for hit in hits if hit]

    def old(self, box: Box) -> list[Box]:
        """Positions of the read view that were not written."""
        left = [box]
        for part in self.written.out(whole(self.written.shape)):
            hole = self.read.back(part)
            if hole is not None:
                left = [piece for kept in left for piece in minus(kept, hole)]
        return left

    @property
    def none(self) -> bool:
        """Whether no position was written."""
        return not self.new(whole(self.read.shape))

    @property
    def dims(self) -> dict[int, tuple[int, int]]:
        """Dimensions of the read view that run along one of the written view, and its step."""
        places = {
            way.dims[0]: (d, way.step)
            for d, way in enumerate(self.written.ways)
            if way is not None and len(way.dims) == 1
        }
        return {
            d: (places[way.dims[0]][0], places[way.dims[0]][1])
            for d, way in enumerate(self.read.ways)
            if way is not None and len(way.dims) == 1 and way.step == 1 and way.dims[0] in places
        }


def overlap(memory: Strided, read: Strided, written: Strided) -> Overlap | None:
    """How two views of a memory lie upon each other; None where no products say it.

    >>> rows = overlap(
    ...     Strided((4, 3), (3, 1), 0), Strided((4, 3), (3, 1), 0), Strided((2, 3), (3, 1), 3)
    ... )
    >>> rows.new((Positions.of([0, 1]), Positions.of([2])))
    [(Positions({0}), Positions({2}))]
    """
    order = sorted(
        (d for d, n in enumerate(memory.shape) if n != 1), key=lambda d: -memory.strides[d]
    )
    lengths = tuple(memory.shape[d] for d in order)
    strides = tuple(memory.strides[d] for d in order)
    if any(stride != prod(lengths[i + 1 :]) for i, stride in enumerate(strides)):
        return None  # the memory itself has gaps, or is laid upon itself
    a, b = _laid(read, lengths, strides), _laid(written, lengths, strides)
    return None if a is None or b is None else Overlap(a, b)


def _laid(view: Strided, lengths: Shape, strides: Shape) -> _Laid | None:
    starts, rest = [], view.offset
    for stride in strides:
        start, rest = divmod(rest, stride)
        starts.append(start)
    if rest or any(s >= n for s, n in zip(starts, lengths, strict=True)):
        return None
    ways: list[_Way | None] = []
    taken: set[int] = set()
    for length, stride in zip(view.shape, view.strides, strict=True):
        if length == 1 or stride == 0:
            ways.append(None)
            continue
        way = _way(length, stride, lengths, strides, starts)
        if way is None or taken & set(way.dims):
            return None
        taken.update(way.dims)
        ways.append(way)
    return _Laid(view.shape, lengths, tuple(ways), tuple(starts))


def _way(
    length: int, stride: int, lengths: Shape, strides: Shape, starts: Sequence[int]
) -> _Way | None:
    for dim in range(len(strides)):
        step, rest = divmod(stride, strides[dim])
        if step == 0 or rest:
            continue
        if starts[dim] + step * (length - 1) < lengths[dim]:
            return _Way((dim,), step)
        if step != 1:
            return None
        dims, total = [dim], lengths[dim]
        while total < length and dims[0] > 0:
            dims.insert(0, dims[0] - 1)
            total *= lengths[dims[0]]
        begins = any(starts[d] for d in dims)
        return None if total != length or begins else _Way(tuple(dims), 1)
    return None


def minus(box: Box, hole: Box) -> list[Box]:
    """The part of a product outside another one, in products that do not overlap."""
    if not all(p & q for p, q in zip(box, hole, strict=True)):
        return [box]
    found = []
    for d, (positions, taken) in enumerate(zip(box, hole, strict=True)):
        if outside := positions - taken:
            found.append((*box[:d], outside, *box[d + 1 :]))
        box = (*box[:d], positions & taken, *box[d + 1 :])
    return found
