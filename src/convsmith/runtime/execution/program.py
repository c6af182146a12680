"""Programs: the calls for one size of image, with all their arguments, ready for the executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from convsmith.kernels.abi import CALL
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.library import Library
from convsmith.kernels.rows import Pack, Unpack
from convsmith.runtime.execution.arguments import (
    TENSORS,
    Argument,
    Constants,
    Packed,
    Strides,
    arguments_of,
    border,
    by_channels,
    sides,
    split,
)
from convsmith.runtime.execution.bands import Plan
from convsmith.runtime.execution.extents import check_extents
from convsmith.runtime.lowering.block import Array, Block, Input, Output
from convsmith.runtime.lowering.mean import Mean

__all__ = ["Program", "assemble", "kernel_for"]


@dataclass(frozen=True)
class Program:
    """What the executor runs.

    Attributes:
        calls: (threads, calls), structured as `CALL`.
        arguments: structured as `ARGUMENT`.
        plan: what it was made from.
        owners: for each call the number of its block, -1 for a border.
    """

    calls: Array
    arguments: Array
    plan: Plan
    owners: Array

    @property
    def memory(self) -> int:
        """Bytes for all maps."""
        return self.plan.memory

    @property
    def threads(self) -> int:
        """How many lists of calls there are."""
        return int(self.calls.shape[0])

    @cached_property
    def where(self) -> tuple[int, int, int, int]:
        """The address of the calls, how many a list has, how many lists, that of the arguments.

        Cached: asking NumPy for an array's address takes longer than some kernels do.
        """
        threads, length = self.calls.shape
        return self.calls.ctypes.data, length, threads, self.arguments.ctypes.data


def assemble(
    blocks: Sequence[Block],
    plan: Plan,
    library: Library,
    constants: Constants,
    strides: Sequence[Strides],
    extents: Sequence[int],
    threads: int,
    widths: Mapping[int, int] | None = None,
) -> Program:
    """Make the calls.

    Args:
        blocks: of the region.
        plan: their bands for this size.
        library: where kernels come from; those that are missing are compiled.
        constants: the weights.
        strides: of each input and output tensor.
        extents: the bytes of an image of each of them.
        threads: each band's rows are shared among so many.
        widths: by a block's id, the pixels of a row that its kernel is chosen for; those of this
            size unless given.

    Raises:
        ConvsmithError: for a program that would leave its memory.
    """
    numbers = {id(block): number for number, block in enumerate(blocks)}
    tensors = iter(range(TENSORS, TENSORS + len(strides)))
    outside = {id(b): next(tensors) for kind in (Input, Output) for b in blocks if type(b) is kind}

    @cache  # by identity: blocks are not compared
    def function(block: Block, width: int, chosen_for: int) -> int:
        if not isinstance(block, (Input, Output)):
            return library.address(kernel_for(block, library.isa, width, chosen_for))
        planar, narrow = strides[outside[id(block)] - TENSORS].planar, bool(block.numbers.word)
        kernel: Kernel
        if isinstance(block, Output):
            kernel = Unpack(planar, numbers=block.numbers)
            return library.unpack if planar and not narrow else library.address(kernel)
        few, even = _few(block)
        kernel = Pack(few, planar, even, numbers=block.numbers)
        return library.pack if planar and not few and not narrow else library.address(kernel)

    arguments = Packed()
    lists: list[list[tuple[int, int, int]]] = [[] for _ in range(threads)]
    owners: list[int] = []

    def emit(calls: list[tuple[int, list[Argument]]], owner: int) -> None:
        for thread in range(threads):
            function, given = calls[thread] if thread < len(calls) else (0, [])
            lists[thread].append((function, arguments.extend(given), len(given)))
        owners.append(owner)

    def fill(calls: list[tuple[int, list[Argument]]]) -> None:
        for first in range(0, len(calls), threads):
            emit(calls[first : first + threads], -1)

    begun: set[int] = set()
    for band in plan.bands:
        block = band.block
        for touched in (*block.sources, *([block.target] if block.target is not None else [])):
            if id(touched.root) not in begun:  # its memory was another map's before
                begun.add(id(touched.root))
                layout = plan.layout(touched)
                fill(sides(library, layout))
                above = layout.gap[0] if layout.whole else layout.map.borders[0]
                fill(border(library, layout, layout.map, -above, 0))
        if band.border:
            assert block.target is not None
            layout = plan.layout(block.target)
            if not layout.whole:
                fill(border(library, layout, block.target, band.start, band.stop))
            continue
        shares = 1 if isinstance(block, Mean) else threads
        where = outside.get(id(block), -1)
        step = strides[where - TENSORS] if where >= 0 else None
        for part in block.parts:
            rows = [-(-(row - part.first[0]) // part.step[0]) for row in (band.start, band.stop)]
            width = part.pixels(plan.sizes[id(block)][1])
            if rows[0] == rows[1] or not width:
                continue
            row = plan.sizes[id(block)][1] if widths is None else widths[id(block)]
            code = function(part, width, part.pixels(row))
            given = [
                (code, arguments_of(part, (a, b), width, plan, constants, where, step))
                for a, b in split(rows[0], rows[1], shares)
            ]
            if len(given) == 1 and shares > 1:
                given = [(code, some) for some in by_channels(part, given[0][1], shares)]
            emit(given, numbers[id(block)])
    calls, flat = np.array(lists, CALL), arguments.array()
    rooms = (plan.memory, constants.memory.nbytes, *extents)
    check_extents(calls, flat, rooms, library.abi)
    return Program(calls, flat, plan, np.array(owners))


def kernel_for(part: Block, isa: Isa, width: int, chosen_for: int) -> Kernel:
    """The kernel for rows of `width` pixels that rows of another width would have.

    Kernels of one operation differ in how many pixels they compute at once, and so in which of
    their products and sums the compiler fuses: another kernel may round otherwise. One whose tile
    is longer than the row cannot be used.
    """
    kernel = part.kernel(isa, chosen_for)
    if getattr(kernel, "pixels", 1) > width:
        kernel = part.kernel(isa, width)
    return replace(kernel, numbers=part.numbers)


def _few(block: Input) -> tuple[int, bool]:
    """The channels of a map that has few, else 0, and whether one of zeros is beside them."""
    assert block.target is not None
    return block.target.few, 0 < block.target.few < block.target.pitch
