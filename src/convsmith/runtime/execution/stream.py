"""Streams: a region's program in steps, each of which takes and gives some rows of an image.

Bands of rows pass through rings, so neither the image nor the result has to be in memory: a step
finds its rows in a window, and leaves its results in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

from convsmith.network.lock import LOCK
from convsmith.runtime.execution.arguments import TENSORS, Strides
from convsmith.runtime.execution.bands import Band
from convsmith.runtime.execution.extents import check_extents
from convsmith.runtime.execution.program import Program
from convsmith.runtime.execution.region import Region
from convsmith.runtime.execution.room import aligned
from convsmith.runtime.lowering.block import Array, Block

__all__ = ["WINDOW", "Feed", "Stream"]

WINDOW = 4 << 20
"""Bytes of a window: a share of the third-level cache, beside the rings, and enough rows that a
step takes milliseconds."""

Feed = Callable[[int, int, Tensor], None]
"""Writes rows `[start, stop)` of the image into a tensor (channels, rows, pixels)."""

Rows = tuple[int, int]


@dataclass(frozen=True)
class _Step:
    """Some calls in a row: the rows of the image that they read, and of the result they write."""

    program: Program
    reads: Rows
    writes: Rows


class Stream:
    """A region of one input and one output, for images of one size that come row by row.

    Args:
        region: of images, not of vectors.
        size: rows and pixels of an image.
        last: whether the channels of a pixel are neighbours in what is fed.
    """

    def __init__(self, region: Region, size: Rows, last: bool = False) -> None:
        (source,), (result,) = region.inputs, region.outputs
        assert source.target is not None
        self.region, self.last = region, last
        with LOCK:
            order = region.order([size])
            channels, (given, _, pixels) = source.target.channels, region.results(order)[0]
            lines = 4 * channels * size[1], 4 * given * pixels
            ends = _rows(order.bands, source), _rows(order.bands, result)
            cuts, steps = _cuts(order.bands, (source, result), [max(1, WINDOW // n) for n in lines])
            heights = [max(cut[end][1] - cut[end][0] for cut in cuts) for end in (0, 1)]
            self._shapes = (channels, heights[0], size[1]), (given, heights[1], pixels)
            strides = [_strides(self._shapes[0], last), _strides(self._shapes[1], False)]
            extents = [n * (r + h) for n, r, h in zip(lines, ends, heights, strict=True)]
            program, starts = _moved(
                region.assemble(order, strides, extents, region.team.threads),
                [region.blocks.index(block) for block in (source, result)],
                steps, cuts, [each.row for each in strides],
            )  # fmt: skip
            rooms = [4 * prod(shape) for shape in self._shapes]
            held = (order.memory, region.constants.memory.nbytes, *rooms)
            check_extents(program.calls, program.arguments, held, region.library.abi)
        self._steps = [
            _Step(replace(program, calls=np.ascontiguousarray(program.calls[:, a:b])), *cut)
            for (a, b), cut in zip(pairwise(starts), cuts, strict=True)
        ]
        self._memory = order.memory
        self._free: list[tuple[Array, Array, Array]] = []

    @property
    def nbytes(self) -> int:
        """Memory of one run: rings and windows."""
        return self._memory + sum(4 * prod(shape) for shape in self._shapes)

    def run(self, feed: Feed) -> Iterator[tuple[int, Tensor]]:
        """Rows of the result as they are ready: the number of the first, and their values.

        These are (1, channels, rows, pixels), and hold until the next are asked for.

        Args:
            feed: is asked for the rows of the image once, in order.
        """
        region = self.region
        held = self._free.pop() if self._free else self._take()
        memory, given, taken = held
        bases = (memory.ctypes.data, region.constants.address, *(a.ctypes.data for a in held[1:]))
        window, results = torch.from_numpy(given), torch.from_numpy(taken)
        try:
            for step in self._steps:
                (start, stop), (first, end) = step.reads, step.writes
                if start < stop:
                    feed(start, stop, window[:, : stop - start])
                region.team.run(region.library, step.program, bases)
                if first < end:
                    yield first, results[None, :, : end - first]
        finally:
            self._free.append(held)

    def _take(self) -> tuple[Array, Array, Array]:
        """Rings, the window of the image and that of the result."""
        source, result = (aligned(4 * prod(shape)) for shape in self._shapes)
        channels, rows, pixels = self._shapes[0]
        given = source.view(np.float32)
        if self.last:
            given = given.reshape(rows, pixels, channels).transpose(2, 0, 1)
        else:
            given = given.reshape(channels, rows, pixels)
        return aligned(self._memory), given, result.view(np.float32).reshape(self._shapes[1])


def _strides(shape: tuple[int, int, int], last: bool) -> Strides:
    channels, rows, pixels = shape
    if last:
        return Strides(1, pixels * channels, channels, False)
    return Strides(rows * pixels, pixels, 1, True)


def _rows(bands: Iterable[Band], block: Block) -> int:
    """How many rows a block has in all."""
    return max(band.stop for band in bands if band.block is block and not band.border)


def _cuts(
    bands: Iterable[Band], blocks: tuple[Block, Block], most: Sequence[int]
) -> tuple[list[tuple[Rows, Rows]], list[int]]:
    """The rows that each step reads and writes, and to which step each of their bands belongs.

    A step has no more than so many rows of each, but at least a band's.
    """
    cuts: list[tuple[Rows, Rows]] = []
    steps: list[int] = []
    spans = [(0, 0), (0, 0)]
    for band in bands:
        if band.border or band.block not in blocks:
            continue
        end = blocks.index(band.block)
        start, stop = spans[end]
        if start < stop and band.stop - start > most[end]:
            cuts.append((spans[0], spans[1]))
            spans = [(stop, stop) for _, stop in spans]
        spans[end] = (spans[end][0], band.stop)
        steps.append(len(cuts))
    return [*cuts, (spans[0], spans[1])], steps


def _moved(
    program: Program,
    owners: Sequence[int],
    steps: Iterable[int],
    cuts: Sequence[tuple[Rows, Rows]],
    rows: Sequence[int],
) -> tuple[Program, list[int]]:
    """Count each step's offsets from its own windows; the program, and where its steps begin.

    Args:
        program: with offsets as if all rows lay one after the other.
        owners: the numbers of the blocks that read the image and write the result.
        steps: of each of their bands.
        cuts: the rows of each step.
        rows: values from one row to the next.
    """
    arguments, starts, following = program.arguments, [0], iter(steps)
    for place, owner in enumerate(program.owners):
        if owner not in owners:
            continue
        end, step = owners.index(owner), next(following)
        starts += [place] * (step + 1 - len(starts))
        for call in program.calls[:, place]:
            own = arguments[call["first"] : call["first"] + call["count"]]
            own["offset"][own["base"] == TENSORS + end] -= 4 * cuts[step][end][0] * rows[end]
    return program, [*starts, len(program.owners)]
