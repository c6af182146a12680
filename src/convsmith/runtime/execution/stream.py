"""Streams: a region's program in steps, each of which takes and gives some rows of an image.

Bands of rows pass through rings, so neither the image nor the result has to be in memory: a step
finds its rows in a window, and leaves its results in another. While kernels run, the caller fills
the next window and takes what the last step has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
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

_Held = tuple[Array, list[tuple[Array, Array]]]
"""The rings of a run, and its windows."""


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
        self._free: list[_Held] = []

    @property
    def nbytes(self) -> int:
        """Memory of one run: rings and windows."""
        return self._memory + 2 * sum(4 * prod(shape) for shape in self._shapes)

    def run(self, feed: Feed) -> Iterator[tuple[int, Tensor]]:
        """Rows of the result as they are ready: the number of the first, and their values.

        These are (1, channels, rows, pixels), and hold until the next are asked for.

        Args:
            feed: is asked for the rows of the image once, in order.
        """
        held = self._free.pop() if self._free else self._take()
        running: Future[None] | None = None
        with ThreadPoolExecutor(1) as thread:
            try:
                for number, step in enumerate(self._steps):
                    start, stop = step.reads
                    window, _ = held[1][number % 2]
                    if start < stop:
                        feed(start, stop, torch.from_numpy(window[:, : stop - start]))
                    if running is not None:
                        running.result()
                    running = thread.submit(self._compute, step, held, number % 2)
                    if number:
                        yield from self._given(number - 1, held)
                if running is not None:
                    running.result()
                yield from self._given(len(self._steps) - 1, held)
            finally:
                if running is not None:
                    wait([running])
                self._free.append(held)

    def _compute(self, step: _Step, held: _Held, which: int) -> None:
        region, (memory, windows) = self.region, held
        places = memory, region.constants.memory, *windows[which]
        bases = [place.ctypes.data for place in places]
        region.team.run(region.library, step.program, bases)

    def _given(self, number: int, held: _Held) -> Iterator[tuple[int, Tensor]]:
        first, end = self._steps[number].writes
        if first < end:
            _, results = held[1][number % 2]
            yield first, torch.from_numpy(results)[None, :, : end - first]

    def _take(self) -> _Held:
        """Rings, and two pairs of windows: of the image and of the result."""
        return aligned(self._memory), [self._windows() for _ in range(2)]

    def _windows(self) -> tuple[Array, Array]:
        source, result = (aligned(4 * prod(shape)) for shape in self._shapes)
        channels, rows, pixels = self._shapes[0]
        given = source.view(np.float32)
        if self.last:
            given = given.reshape(rows, pixels, channels).transpose(2, 0, 1)
        else:
            given = given.reshape(channels, rows, pixels)
        return given, result.view(np.float32).reshape(self._shapes[1])


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
