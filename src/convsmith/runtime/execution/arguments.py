"""The arguments of calls: weights, rows of maps, tensors, as buffers that the executor fills in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from convsmith.kernels.abi import ARGUMENT
from convsmith.kernels.library import Library
from convsmith.runtime.execution.bands import Plan
from convsmith.runtime.execution.room import aligned
from convsmith.runtime.execution.strides import Strides
from convsmith.runtime.lowering.block import Array, Block, Input
from convsmith.runtime.lowering.maps import Layout, Map
from convsmith.runtime.lowering.mean import Mean

__all__ = [
    "TENSORS", "Argument", "Constants", "Packed", "Strides", "arguments_of", "border",
    "by_channels", "sides", "split",
]  # fmt: skip

MEMORY, WEIGHTS, TENSORS = 0, 1, 2
"""Base addresses: the maps of this call, the weights, then a tensor each: inputs, outputs."""

Argument = tuple[int, int, int, tuple[int, ...], tuple[int, ...], int]
"""As `ARGUMENT`, extents and strides as far as there are dimensions."""


class Constants:
    """All weights of a region in one piece of memory, each at a cache line."""

    def __init__(self, blocks: Sequence[Block], library: Library) -> None:
        self.places: dict[int, list[tuple[int, Array]]] = {}
        size = 0
        # The phases of a block share some of their weights.
        known: dict[Any, list[tuple[int, Array]]] = {}
        for part in (part for block in blocks for part in block.parts):
            self.places[id(part)] = []
            for array in part.constants(library.isa):
                alike = known.setdefault((array.shape, crc32(_bytes(array))), [])
                offset = next((at for at, one in alike if _same(one, array)), size)
                if offset == size:
                    alike.append((size, array))
                    size += -(-array.nbytes // 64) * 64
                self.places[id(part)].append((offset, array))
        self.memory = aligned(size, 64)
        self.memory[:] = 0
        self.address: int = self.memory.ctypes.data
        for placed in self.places.values():
            for offset, array in placed:
                self.memory[offset : offset + array.nbytes] = _bytes(array)

    def arguments(self, block: Block) -> list[Argument]:
        """The buffers of a block's weights, innermost dimension first."""
        return [
            _buffer(WEIGHTS, offset, array.shape[::-1], size=array.itemsize)
            for offset, array in self.places[id(block)]
        ]


def _bytes(array: Array) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _same(one: Array, other: Array) -> bool:
    return np.array_equal(_bytes(one), _bytes(other))


def arguments_of(
    block: Block,
    rows: tuple[int, int],
    width: int,
    plan: Plan,
    constants: Constants,
    base: int,
    strides: Strides | None,
) -> list[Argument]:
    """What the kernel of a part of a block takes for some of its rows."""
    start, height = rows[0], rows[1] - rows[0]
    result: list[Argument] = []
    if isinstance(block, Input):
        assert block.target is not None
        assert strides is not None
        size = (block.target.channels, width, height)
        steps = (strides.channel, strides.pixel, strides.row)
        result = [_buffer(base, 4 * start * strides.row, size, steps)]
    elif isinstance(block, Mean):
        result = _mean(block, plan, start)
    else:
        first = plan.layout(block.sources[0])
        pixels = block.reach(width, first.width)
        result = _rows(first, block.sources[0], *block.origin(start), pixels)
        weights = iter(constants.arguments(block)) if id(block) in constants.places else iter(())
        for value in block.settings(start, (first.height, first.width)):
            result.append(next(weights) if value is None else _number(value))
        result += [_gate(plan.layout(gate), gate) for gate in block.gates]
        residual = getattr(block, "residual", None)
        if residual is not None:
            result += _rows(plan.layout(residual), residual, start, 0, width)
    if block.target is not None:
        layout, target = plan.layout(block.target), block.target
        channels = target.channels if block.exact and not target.few else target.pitch
        size = (channels, width, height)
        (row, pixel), (down, right) = block.first, block.step
        place = layout.address(start * down + row, pixel, target.start)
        steps = (1, right * layout.map.pitch, down * layout.row)
        return [*result, _buffer(MEMORY, place, size, steps, layout.size)]
    source = block.sources[0]
    assert strides is not None
    if strides.planar:
        box = (width, source.channels, height), (1, strides.channel, strides.row)
    else:
        box = (source.channels, width, height), (1, strides.pixel, strides.row)
    return [*result, _buffer(base, 4 * start * strides.row, *box)]


def _mean(block: Mean, plan: Plan, start: int) -> list[Argument]:
    source = block.sources[0]
    layout = plan.layout(source)
    if block.of_rows:
        result, length = _rows(layout, source, start, 0, layout.width), layout.width
        result += [_gate(plan.layout(gate), gate) for gate in block.gates]
    else:
        # The column of sums is read as one row.
        height = layout.height
        box = (source.pitch, height, 1), (1, layout.row, height * layout.row)
        place = layout.address(0, 0, source.start)
        result = [_buffer(MEMORY, place, *box, layout.size), _number(1), _number(0)]
        length = height
    whole = layout if block.whole is None else plan.layout(block.whole)
    return [*result, *map(_number, block.ends(length, whole.height * whole.width))]


def _rows(layout: Layout, source: Map, row: int, column: int, pixels: int) -> list[Argument]:
    """A map as `Rows` takes it: pixels from a column on, of all rows; how many rows; the first."""
    pitch = layout.map.pitch
    box = (source.pitch, pixels, layout.ring), (1, pitch, layout.row)
    place = layout.address(0, column, source.start)
    return [_buffer(MEMORY, place, *box, layout.size), _number(layout.ring), _number(row)]


def _gate(layout: Layout, source: Map) -> Argument:
    """A map of one pixel as a number for each channel."""
    return _buffer(MEMORY, layout.address(0, 0, source.start), (source.pitch,), size=layout.size)


def _number(value: int | float) -> Argument:
    """An argument by value: the executor passes the bits."""
    bits = np.float32(value).view(np.int32) if isinstance(value, float) else value
    return (-1, int(bits), 0, (), (), 0)


def _buffer(
    base: int, offset: int, extent: tuple[int, ...], stride: tuple[int, ...] = (), size: int = 4
) -> Argument:
    if not stride:
        steps = [1]
        for length in extent[:-1]:
            steps.append(steps[-1] * length)
        stride = tuple(steps)
    return (base, len(extent), offset, extent, stride, size)


def by_channels(part: Block, arguments: list[Argument], shares: int) -> list[list[Argument]]:
    """The arguments of a sum over channels in shares of its output channels, by whole tiles."""
    if getattr(part, "kind", "") != "pointwise":
        return [arguments]
    # The first buffer is the source; the others have the output's channels, the weights before all.
    _, *places = (place for place, argument in enumerate(arguments) if argument[0] >= 0)
    tile = arguments[places[0]][3][-2]
    tiles = arguments[-1][3][0] // tile
    result = []
    for a, b in split(0, tiles, shares):
        share = list(arguments)
        for place in places:
            base, value, offset, extent, stride, size = arguments[place]
            axis = value - 1 if place == places[0] else 0
            whole = extent[axis] // tiles
            cut = (*extent[:axis], (b - a) * whole, *extent[axis + 1 :])
            start = offset + size * a * whole * stride[axis]
            share[place] = (base, value, start, cut, stride, size)
        result.append(share)
    return result


def split(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    """Up to so many ranges of like length, none of them empty.

    >>> split(0, 7, 3), split(0, 2, 3)
    ([(0, 2), (2, 4), (4, 7)], [(0, 1), (1, 2)])
    """
    marks = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [(a, b) for a, b in pairwise(marks) if b > a]


def border(
    library: Library, layout: Layout, target: Map, start: int, stop: int
) -> list[tuple[int, list[Argument]]]:
    """Fill rows with the border's value; rows of a ring lie together but for its end."""
    if start == stop:
        return []
    pitch, width = layout.map.pitch, layout.row
    fill = _number(float(layout.map.fill))
    marks = [start, *(row for row in range(start + 1, stop) if row % layout.ring == 0), stop]
    calls = []
    for a, b in pairwise(marks):
        place = layout.address(a, -layout.gap[1], target.start)
        box = (target.pitch, width // pitch, b - a), (1, pitch, width)
        calls.append((library.fill, [_buffer(MEMORY, place, *box, layout.size), fill]))
    return calls


def sides(library: Library, layout: Layout) -> list[tuple[int, list[Argument]]]:
    """Fill the pixels between all rows of a ring, and at its two ends, with the border's value."""
    pitch, fill = layout.map.pitch, _number(float(layout.map.fill))
    between = layout.gap[1]
    if not between:
        return []
    box = (pitch, between, layout.ring + 1), (1, pitch, layout.row)
    place = layout.address(0, -between)
    return [(library.fill, [_buffer(MEMORY, place, *box, layout.size), fill])]


class Packed:
    """Arguments as the executor takes them, which are fewer bytes than those of Python."""

    def __init__(self) -> None:
        self._packed: list[Array] = []
        self._loose: list[Argument] = []
        self._count = 0

    def extend(self, arguments: Sequence[Argument]) -> int:
        """Add some; the place of the first."""
        first = self._count
        self._loose += arguments
        self._count += len(arguments)
        if len(self._loose) > _LOOSE:
            self._pack()
        return first

    def array(self) -> Array:
        """All, structured as `ARGUMENT`."""
        self._pack()
        self._packed = [np.concatenate(self._packed)]
        return self._packed[0]

    def _pack(self) -> None:
        rows = [
            (*some, _four(extent), _four(stride), size)
            for *some, extent, stride, size in self._loose
        ]
        self._packed.append(np.array(rows, ARGUMENT))
        self._loose.clear()


_LOOSE = 4096
"""Arguments that are packed at once."""


def _four(values: tuple[int, ...]) -> tuple[int, ...]:
    return values + _ZEROS[len(values)]


_ZEROS = tuple((0,) * (4 - length) for length in range(5))
