"""Programs: the calls for one size of image, with all their arguments, ready for the executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np

from convsmith.kernels.library import Library
from convsmith.kernels.rows import Pack, Unpack
from convsmith.runtime.bands import Plan
from convsmith.runtime.blocks import Array, Block, Input, Mean, Output, Scaled
from convsmith.runtime.maps import Layout, Map

__all__ = ["ARGUMENT", "CALL", "Constants", "Program", "Strides", "assemble"]

ARGUMENT = np.dtype(
    [
        ("base", "i4"), ("value", "i4"), ("offset", "i8"), ("extent", "i4", 4), ("stride", "i4", 4)
    ],
    align=True,
)  # fmt: skip
CALL = np.dtype([("function", "u8"), ("first", "i4"), ("count", "i4")], align=True)

MEMORY, WEIGHTS, TENSORS = 0, 1, 2
"""Base addresses: the maps of this call, the weights, then a tensor each: inputs, outputs."""

_Argument = tuple[int, int, int, tuple[int, ...], tuple[int, ...]]


class Constants:
    """All weights of a region in one piece of memory, each at a cache line."""

    def __init__(self, blocks: Sequence[Block], library: Library) -> None:
        self.places: dict[int, list[tuple[int, Array]]] = {}
        size = 0
        known: dict[Any, int] = {}  # the phases of a block share some of their weights
        for part in (part for block in blocks for part in block.parts):
            self.places[id(part)] = []
            for array in part.constants(library.isa):
                content = (array.shape, sha256(array.tobytes()).digest())
                if content not in known:
                    known[content] = size
                    size += -(-array.nbytes // 64) * 64
                self.places[id(part)].append((known[content], array))
        room = np.zeros(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self.memory = room[start : start + size]
        self.address: int = self.memory.ctypes.data
        for placed in self.places.values():
            for offset, array in placed:
                self.memory[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)

    def arguments(self, block: Block) -> list[_Argument]:
        """The buffers of a block's weights, innermost dimension first."""
        return [
            _buffer(WEIGHTS, offset, array.shape[::-1]) for offset, array in self.places[id(block)]
        ]


@dataclass(frozen=True)
class Program:
    """What the executor runs.

    Attributes:
        calls: (threads, calls), structured as `CALL`.
        arguments: as `ARGUMENT`.
        plan: what it was made from.
        owners: for each call the number of its block, -1 for a border.
    """

    calls: Array
    arguments: Array
    plan: Plan
    owners: Array

    @property
    def threads(self) -> int:
        """How many lists of calls there are."""
        return int(self.calls.shape[0])

    @cached_property
    def where(self) -> tuple[int, int, int, int]:
        """The address of the calls, how many a list has, how many lists, that of the arguments.

        Kept, for to ask numpy for an address takes longer than some kernels.
        """
        threads, length = self.calls.shape
        return self.calls.ctypes.data, length, threads, self.arguments.ctypes.data


@dataclass(frozen=True)
class Strides:
    """How a tensor outside lies in memory: values from one to the next.

    In a planar one the pixels of a row are neighbours, else the channels of a pixel.
    """

    channel: int
    row: int
    pixel: int
    planar: bool


def assemble(
    blocks: Sequence[Block],
    plan: Plan,
    library: Library,
    constants: Constants,
    strides: Sequence[Strides],
    threads: int,
) -> Program:
    """Make the calls.

    Args:
        blocks: of the region.
        plan: their bands for this size.
        library: where kernels come from; those that are missing are compiled.
        constants: the weights.
        strides: of each input and output tensor.
        threads: each band's rows are shared among so many.
    """
    numbers = {id(block): number for number, block in enumerate(blocks)}
    tensors = iter(range(TENSORS, TENSORS + len(strides)))
    outside = {id(b): next(tensors) for kind in (Input, Output) for b in blocks if type(b) is kind}

    def function(block: Block, width: int) -> int:
        if not isinstance(block, (Input, Output)):
            return library.address(block.kernel(library.isa, width))
        planar = strides[outside[id(block)] - TENSORS].planar
        if isinstance(block, Output):
            return library.unpack if planar else library.address(Unpack(planar))
        few = _few(block)
        return library.pack if planar and not few else library.address(Pack(few, planar))

    arguments: list[_Argument] = []
    lists: list[list[tuple[int, int, int]]] = [[] for _ in range(threads)]
    owners: list[int] = []

    def emit(calls: list[tuple[int, list[_Argument]]], owner: int) -> None:
        for thread in range(threads):
            function, given = calls[thread] if thread < len(calls) else (0, [])
            lists[thread].append((function, len(arguments), len(given)))
            arguments.extend(given)
        owners.append(owner)

    def fill(calls: list[tuple[int, list[_Argument]]]) -> None:
        for first in range(0, len(calls), threads):
            emit(calls[first : first + threads], -1)

    begun: set[int] = set()
    for band in plan.bands:
        block = band.block
        for touched in (*block.sources, *([block.target] if block.target is not None else [])):
            if id(touched.root) not in begun:  # its memory was another map's before
                begun.add(id(touched.root))
                layout = plan.layout(touched)
                fill(_sides(library, layout))
                above = layout.gap[0] if layout.whole else layout.map.borders[0]
                fill(_border(library, layout, layout.map, -above, 0))
        if band.border:
            assert block.target is not None
            layout = plan.layout(block.target)
            if not layout.whole:
                fill(_border(library, layout, block.target, band.start, band.stop))
            continue
        shares = 1 if isinstance(block, Mean) else threads
        where = outside.get(id(block), -1)
        step = strides[where - TENSORS] if where >= 0 else None
        for part in block.parts:
            rows = [-(-(row - part.first[0]) // part.step[0]) for row in (band.start, band.stop)]
            width = _pixels(part, plan.sizes[id(block)][1])
            if rows[0] == rows[1] or not width:
                continue
            code = function(part, width)
            given = [
                (code, _arguments(part, (a, b), width, plan, constants, where, step))
                for a, b in _split(rows[0], rows[1], shares)
            ]
            if len(given) == 1 and shares > 1:
                given = [(code, some) for some in _by_channels(part, given[0][1], shares)]
            emit(given, numbers[id(block)])
    flat = np.zeros(len(arguments), ARGUMENT)
    for row, (base, value, offset, extent, stride) in enumerate(arguments):
        flat[row] = (base, value, offset, _four(extent), _four(stride))
    return Program(np.array(lists, CALL), flat, plan, np.array(owners))


def _by_channels(part: Block, given: list[_Argument], shares: int) -> list[list[_Argument]]:
    """The arguments of a sum over channels in shares of its output channels, by whole tiles."""
    if getattr(part, "kind", "") != "pointwise":
        return [given]
    assert part.target is not None
    tile = part.target.tile
    found = []
    for a, b in _split(0, given[-1][3][0] // tile, shares):
        # x, ring, row, inputs, stride, then what has the output's channels.
        some = list(given)
        for place in range(5, len(given)):
            base, value, offset, extent, stride = given[place]
            if base < 0:
                continue
            weights = place == 5
            axis = 1 if weights else 0
            whole = extent[axis] // (given[-1][3][0] // tile)
            cut = (*extent[:axis], (b - a) * whole, *extent[axis + 1 :])
            some[place] = (base, value, offset + 4 * a * whole * stride[axis], cut, stride)
        found.append(some)
    return found


def _split(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    marks = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [(a, b) for a, b in pairwise(marks) if b > a]


def _pixels(part: Block, width: int) -> int:
    """Of those of a row, how many a part of a block computes."""
    return max(0, -(-(width - part.first[1]) // part.step[1]))


def _border(
    library: Library, layout: Layout, target: Map, start: int, stop: int
) -> list[tuple[int, list[_Argument]]]:
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
        calls.append((library.fill, [_buffer(MEMORY, place, *box), fill]))
    return calls


def _sides(library: Library, layout: Layout) -> list[tuple[int, list[_Argument]]]:
    """Fill the pixels between all rows of a ring, and at its two ends, with the border's value."""
    pitch, fill = layout.map.pitch, _number(float(layout.map.fill))
    between = layout.gap[1]
    if not between:
        return []
    box = (pitch, between, layout.ring + 1), (1, pitch, layout.row)
    return [(library.fill, [_buffer(MEMORY, layout.address(0, -between), *box), fill])]


def _arguments(
    block: Block,
    rows: tuple[int, int],
    width: int,
    plan: Plan,
    constants: Constants,
    base: int,
    strides: Strides | None,
) -> list[_Argument]:
    """What the kernel of a part of a block takes for some of its rows."""
    start, height = rows[0], rows[1] - rows[0]
    given: list[_Argument] = []
    if isinstance(block, Input):
        assert block.target is not None
        assert strides is not None
        size = (block.target.channels, width, height)
        steps = (strides.channel, strides.pixel, strides.row)
        given = [_buffer(base, 4 * start * strides.row, size, steps)]
    elif isinstance(block, Mean):
        given = _mean(block, plan, start)
    else:
        first = plan.layout(block.sources[0])
        given = _rows(first, block.sources[0], *block.origin(start))
        weights = iter(constants.arguments(block)) if id(block) in constants.places else iter(())
        for value in block.settings(start, (first.height, first.width)):
            given.append(next(weights) if value is None else _number(value))
        if isinstance(block, Scaled):
            gate, source = plan.layout(block.sources[1]), block.sources[1]
            given.append(_buffer(MEMORY, gate.address(0, 0, source.start), (source.pitch,)))
        residual = getattr(block, "residual", None)
        if residual is not None:
            given += _rows(plan.layout(residual), residual, start, 0)
    if block.target is not None:
        layout, target = plan.layout(block.target), block.target
        size = (target.channels if block.exact else target.pitch, width, height)
        (row, pixel), (down, right) = block.first, block.step
        place = layout.address(start * down + row, pixel, target.start)
        steps = (1, right * layout.map.pitch, down * layout.row)
        return [*given, _buffer(MEMORY, place, size, steps)]
    source = block.sources[0]
    assert strides is not None
    if strides.planar:
        box = (width, source.channels, height), (1, strides.channel, strides.row)
    else:
        box = (source.channels, width, height), (1, strides.pixel, strides.row)
    return [*given, _buffer(base, 4 * start * strides.row, *box)]


def _few(block: Input) -> int:
    """The channels of a map that has room for no more."""
    assert block.target is not None
    return block.target.channels if block.target.channels == block.target.pitch < 4 else 0


def _mean(block: Mean, plan: Plan, start: int) -> list[_Argument]:
    source = block.sources[0]
    layout = plan.layout(source)
    if block.of_rows:
        given, length = _rows(layout, source, start, 0), layout.width
    else:
        # The column of sums is read as one row.
        height = layout.height
        box = (source.pitch, height, 1), (1, layout.row, height * layout.row)
        place = layout.address(0, 0, source.start)
        given = [_buffer(MEMORY, place, *box), _number(1), _number(0)]
        length = height
    return [*given, _number(length), _number(1 / length)]


def _rows(layout: Layout, source: Map, row: int, column: int) -> list[_Argument]:
    """A map as `Rows` takes it: all of the ring from a column on, its length, the first row."""
    pitch = layout.map.pitch
    pixels = layout.width + layout.map.borders[2] + layout.map.borders[3]
    box = (source.pitch, pixels, layout.ring), (1, pitch, layout.row)
    place = layout.address(0, column, source.start)
    return [_buffer(MEMORY, place, *box), _number(layout.ring), _number(row)]


def _number(value: int | float) -> _Argument:
    """An argument by value: the executor passes the bits."""
    bits = np.float32(value).view(np.int32) if isinstance(value, float) else value
    return (-1, int(bits), 0, (), ())


def _buffer(
    base: int, offset: int, extent: tuple[int, ...], stride: tuple[int, ...] = ()
) -> _Argument:
    if not stride:
        steps = [1]
        for length in extent[:-1]:
            steps.append(steps[-1] * length)
        stride = tuple(steps)
    return (base, len(extent), offset, extent, stride)


def _four(values: tuple[int, ...]) -> tuple[int, ...]:
    return (*values, *(0,) * (4 - len(values)))
