"""Programs: the calls for one size of image, with all their arguments, ready for the executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from convsmith.kernels.library import Library
from convsmith.kernels.rows import Pack, Unpack
from convsmith.runtime.bands import Band, Plan
from convsmith.runtime.blocks import (
    Array,
    Block,
    Convolution,
    Input,
    Mean,
    Output,
    Pool,
    Scaled,
)
from convsmith.runtime.maps import Layout

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
        for block in blocks:
            arrays = block.constants(library.isa)
            self.places[id(block)] = []
            for array in arrays:
                self.places[id(block)].append((size, array))
                size += -(-array.nbytes // 64) * 64
        room = np.zeros(size + 64, np.uint8)
        start = -room.ctypes.data % 64
        self.memory = room[start : start + size]
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
    chosen = {
        id(block): Pack(_few(block), strides[outside[id(block)] - TENSORS].planar)
        if isinstance(block, Input)
        else Unpack(strides[outside[id(block)] - TENSORS].planar)
        if isinstance(block, Output)
        else block.kernel(library.isa, plan.sizes[id(block)][1])
        for block in blocks
    }
    arguments: list[_Argument] = []
    lists: list[list[tuple[int, int, int]]] = [[] for _ in range(threads)]
    owners: list[int] = []

    def emit(calls: list[tuple[int, list[_Argument]]], owner: int) -> None:
        for thread in range(threads):
            function, given = calls[thread] if thread < len(calls) else (0, [])
            lists[thread].append((function, len(arguments), len(given)))
            arguments.extend(given)
        owners.append(owner)

    for block in blocks:
        if block.target is not None and block.target.borders[0]:
            for call in _border(library, plan.layout(block.target), -block.target.borders[0], 0):
                emit([call], -1)
    for band in plan.bands:
        block = band.block
        if band.border:
            assert block.target is not None
            for call in _border(library, plan.layout(block.target), band.start, band.stop):
                emit([call], -1)
            continue
        function = library.address(chosen[id(block)])
        parts = _split(band.start, band.stop, threads if not isinstance(block, Mean) else 1)
        where = outside.get(id(block), -1)
        emit(
            [
                (
                    function,
                    _arguments(
                        Band(block, *part), plan, constants, where,
                        strides[where - TENSORS] if where >= 0 else None,
                    ),
                )
                for part in parts
            ],
            numbers[id(block)],
        )  # fmt: skip
    flat = np.zeros(len(arguments), ARGUMENT)
    for row, (base, value, offset, extent, stride) in enumerate(arguments):
        flat[row] = (base, value, offset, _four(extent), _four(stride))
    return Program(np.array(lists, CALL), flat, plan, np.array(owners))


def _split(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    marks = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [(a, b) for a, b in pairwise(marks) if b > a]


def _border(
    library: Library, layout: Layout, start: int, stop: int
) -> list[tuple[int, list[_Argument]]]:
    """Fill rows with the border's value; rows of a ring lie together but for its end."""
    width = layout.row
    fill = _number(np.float32(layout.map.fill).view(np.int32))
    marks = [start, *(row for row in range(start + 1, stop) if row % layout.ring == 0), stop]
    calls = []
    for a, b in pairwise(marks):
        place = layout.offset + 4 * (a % layout.ring) * width
        calls.append((library.fill, [_buffer(MEMORY, place, (width, b - a), (1, width)), fill]))
    return calls


def _arguments(
    band: Band, plan: Plan, constants: Constants, base: int, strides: Strides | None
) -> list[_Argument]:
    block, (start, stop) = band.block, (band.start, band.stop)
    width = plan.sizes[id(block)][1]
    given: list[_Argument] = []
    if isinstance(block, Input):
        assert block.target is not None
        assert strides is not None
        size = (block.target.channels, width, stop - start)
        steps = (strides.channel, strides.pixel, strides.row)
        given = [_buffer(base, 4 * start * strides.row, size, steps)]
    elif isinstance(block, Mean):
        given = _mean(block, plan, start)
    else:
        first = plan.layout(block.sources[0])
        rows, columns = block.windows
        given = _rows(first, rows.input_range(start, stop)[0], -columns.padding[0])
        given += _fixed(block, constants)
        if isinstance(block, Scaled):
            gate = plan.layout(block.sources[1])
            given.append(_buffer(MEMORY, gate.address(0, 0), (gate.map.pitch,)))
        residual = getattr(block, "residual", None)
        if residual is not None:
            given += _rows(plan.layout(residual), start, 0)
    if block.target is not None:
        layout = plan.layout(block.target)
        size = (layout.map.pitch, width, stop - start)
        if isinstance(block, Input):
            size = (layout.map.channels, width, stop - start)
        place = (layout.address(start, 0), size, (1, layout.map.pitch, layout.row))
        return [*given, _buffer(MEMORY, *place)]
    source = block.sources[0]
    assert strides is not None
    if strides.planar:
        box = (width, source.channels, stop - start), (1, strides.channel, strides.row)
    else:
        box = (source.channels, width, stop - start), (1, strides.pixel, strides.row)
    return [*given, _buffer(base, 4 * start * strides.row, *box)]


def _few(block: Input) -> int:
    """The channels of a map that has room for no more."""
    assert block.target is not None
    return block.target.channels if block.target.channels == block.target.pitch < 4 else 0


def _fixed(block: Block, constants: Constants) -> list[_Argument]:
    """Numbers and weights, in the order in which the block's kernel takes them."""
    rates = [_number(window.dilation) for window in block.windows]
    if isinstance(block, Pool):
        return rates
    if not isinstance(block, Convolution):
        return []
    weights = constants.arguments(block)
    if block.kind == "depthwise":
        return [*rates, *weights]
    inputs = _number(block.weight.shape[1])
    if block.kind == "separable":
        return [*rates, *weights[:2], inputs, *weights[2:]]
    if block.kind == "pointwise" and block.windows[0].stride == block.windows[1].stride:
        return [inputs, _number(block.windows[0].stride), *weights]
    return [inputs, *rates, *weights]


def _mean(block: Mean, plan: Plan, start: int) -> list[_Argument]:
    layout = plan.layout(block.sources[0])
    pitch = layout.map.pitch
    if block.of_rows:
        given, length = _rows(layout, start, 0), layout.width
    else:
        # The column of sums is read as one row.
        height = layout.height
        box = (pitch, height, 1), (1, layout.row, height * layout.row)
        given = [_buffer(MEMORY, layout.address(0, 0), *box), _number(1), _number(0)]
        length = height
    return [*given, _number(length), _number(np.float32(1 / length).view(np.int32))]


def _rows(layout: Layout, row: int, column: int) -> list[_Argument]:
    """A map as `Rows` takes it: all of the ring from a column on, its length, the first row."""
    pitch = layout.map.pitch
    pixels = layout.width + layout.map.borders[2] + layout.map.borders[3]
    box = (pitch, pixels, layout.ring), (1, pitch, layout.row)
    return [_buffer(MEMORY, layout.address(0, column), *box), _number(layout.ring), _number(row)]


def _number(value: Any) -> _Argument:
    return (-1, int(value), 0, (), ())


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
