"""The order in which bands of rows are computed, and how many rows each map must keep.

Nothing is computed twice and nothing earlier than it is needed: a band asks for the rows it reads,
by the windows' own arithmetic, and so on back to the input. How tall each ring has to be follows
from the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convsmith.errors import ArgumentError
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.maps import Layout, Map

__all__ = ["Band", "Plan", "plan", "sizes_of"]

_BAND_BYTES = (256 * 1024, 128 * 1024, 64 * 1024)
"""Of the rows that a band reads and writes: a quarter of a second-level cache of 1 MiB, which also
holds weights and the bands of the blocks before and after; or less, where all rings then lie in
that cache. Found by trial: MobileNetV2, whose rings never do, takes the same time from 96 to
384 KiB; three separable layers of 64 channels at 112² gain 7 % with the smallest."""

_CACHE_BYTES = 768 * 1024
"""Of that cache, for the rings; weights and what comes from outside need the rest."""


@dataclass(frozen=True)
class Band:
    """Rows `[start, stop)` of the output of a block; or rows of its target that are border."""

    block: Block
    start: int
    stop: int
    border: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do for one size of image.

    Attributes:
        bands: in the order of execution.
        layouts: where each map lies.
        sizes: rows and pixels of each block's output.
        memory: bytes for all maps.
    """

    bands: tuple[Band, ...]
    layouts: dict[int, Layout]
    sizes: dict[int, tuple[int, int]]
    memory: int

    def layout(self, of: Map) -> Layout:
        """Where a map lies, or the one it is a part of."""
        return self.layouts[id(of.root)]


def plan(
    blocks: Sequence[Block],
    sizes: Sequence[tuple[int, int]],
    band_bytes: int | None = None,
    threads: int = 1,
) -> Plan:
    """Bands and rings for inputs of the given sizes (rows, pixels), in the order of the inputs.

    Args:
        blocks: of a region, in the order of their layers.
        sizes: of its inputs.
        band_bytes: what the rows of a band, read and written, may take for each thread; by default
            what fits its second-level cache, or as much as the weights that it passes through.
        threads: that share a band.

    Raises:
        ArgumentError: where a block has no output for its size, or sizes to be added differ.
    """
    if band_bytes is None:
        plans = (plan(blocks, sizes, room, threads) for room in _BAND_BYTES)
        largest, room = next(plans), threads * _CACHE_BYTES
        # Rings shrink no faster than their bands, so most need not be tried again.
        hopeless = largest.memory * _BAND_BYTES[-1] > room * _BAND_BYTES[0]
        if largest.memory <= room or hopeless:
            return largest
        return next((p for p in plans if p.memory <= room), largest)
    every = sizes_of(blocks, sizes)
    makers: dict[int, list[Block]] = {}
    for block in blocks:
        if block.target is not None:
            makers.setdefault(id(block.target.root), []).append(block)
    heights = {key: every[id(some[0])][0] for key, some in makers.items()}
    step = _steps(blocks, every, makers, band_bytes, threads)
    done = {id(block): 0 for block in blocks}
    bands: list[Band] = []

    def band(block: Block) -> Band:
        start = done[id(block)]
        return Band(block, start, min(start + step[id(block)], every[id(block)][0]))

    def lacking(next_band: Band) -> Block | None:
        """The maker of the first source that has not all the rows a band reads."""
        for which, source in enumerate(next_band.block.sources):
            key = id(source.root)
            height = heights[key]
            _, stop = next_band.block.reads(which, next_band.start, next_band.stop, height)
            for maker in makers[key]:
                assert maker.target is not None
                if done[id(maker)] < min(stop, height) and maker.target.overlaps(source):
                    return maker
        return None

    for last in blocks:
        stack = [last] if last.target is None else []
        while stack:
            next_band = band(stack[-1])
            if (maker := lacking(next_band)) is not None:
                stack.append(maker)
                continue
            block = stack.pop()
            bands.append(next_band)
            done[id(block)] = next_band.stop
            height = every[id(block)][0]
            below = block.target.root.borders[1] if block.target is not None else 0
            if next_band.stop == height and below:
                bands.append(Band(block, height, height + below, border=True))
            if next_band.stop < height and block is last:
                stack.append(block)
    rings = _rings(bands, makers, heights, step)
    layouts: dict[int, Layout] = {}
    for key, some in makers.items():
        assert some[0].target is not None
        layouts[key] = Layout(some[0].target.root, *every[id(some[0])], rings[key])
    memory = _place(bands, layouts)
    return Plan(tuple(bands), layouts, every, memory)


def sizes_of(
    blocks: Sequence[Block], sizes: Sequence[tuple[int, int]], *, joined: bool = True
) -> dict[int, tuple[int, int]]:
    """Rows and pixels of each block's output, by the block's id, for inputs of these sizes.

    Raises:
        ArgumentError: where sizes differ that are added or joined, unless `joined` is false.
    """
    input_sizes = iter(sizes)
    result: dict[int, tuple[int, int]] = {}
    maps: dict[int, tuple[int, int]] = {}

    def size_of(source: Map) -> tuple[int, int]:
        """Of a map, or of the one that it was cut from."""
        return next(maps[id(part)] for part in source.chain if id(part) in maps)

    for block in blocks:
        size = block.size(size_of(block.sources[0])) if block.sources else next(input_sizes)
        residual = getattr(block, "residual", None)
        if residual is not None and joined:
            _same(block, "add", size, size_of(residual))
        result[id(block)] = size
        for part in block.target.chain if block.target is not None else ():
            known = maps.setdefault(id(part), size)
            if joined:
                _same(block, "be joined to", size, known)
    return result


def _same(block: Block, what: str, size: tuple[int, int], other: tuple[int, int]) -> None:
    if size != other:
        raise ArgumentError(
            f"{block.name} of {size[0]}×{size[1]} cannot {what} {other[0]}×{other[1]}"
        )


def _steps(
    blocks: Sequence[Block],
    sizes: dict[int, tuple[int, int]],
    makers: dict[int, list[Block]],
    band_bytes: int,
    threads: int,
) -> dict[int, int]:
    """Rows per call of each block: as many as fit the cache, in bands of like height."""
    steps: dict[int, int] = {}
    for block in blocks:
        height, width = sizes[id(block)]
        cost = 4 * width * (block.target or block.sources[0]).root.pitch
        for which, source in enumerate(block.sources):
            rows, pixels = sizes[id(makers[id(source.root)][0])]
            start, stop = block.reads(which, 0, height, rows)
            cost += 4 * pixels * source.pitch * (stop - start) // height
        # Weights pass through the cache once a band: it should have as much to do as they weigh.
        least = 4 * block.macs((1, 1)) if band_bytes in _BAND_BYTES else 0
        most = max(1, threads * max(band_bytes, least) // cost)
        even = -(-height // -(-height // most))
        # As many rows for one thread as for another.
        steps[id(block)] = min(height, -(-even // threads) * threads)
    for some in makers.values():  # parts of a map have bands of one height
        steps |= dict.fromkeys(map(id, some), min(steps[id(block)] for block in some))
    return steps


def _place(bands: Sequence[Band], layouts: dict[int, Layout]) -> int:
    """Give each map its place, the same as others have at other times; the memory for all."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for time, band in enumerate(bands):
        target = [] if band.block.target is None else [band.block.target]
        for some in (*band.block.sources, *target):
            first.setdefault(id(some.root), time)
            last[id(some.root)] = time
    placed: list[tuple[int, int, int]] = []  # start, stop, key
    for key in sorted(first, key=first.__getitem__):
        # Stagger maps by 256 bytes: rows at the same page offset would compete for cache sets.
        size = layouts[key].nbytes + 256
        start = 0
        for begin, end, other in sorted(placed):
            apart = last[other] < first[key] or last[key] < first[other]
            if not apart and begin < start + size and start < end:
                start = end
        placed.append((start, start + size, key))
        layouts[key] = replace(layouts[key], offset=start)
    return max((end for _, end, _ in placed), default=0)


def _rings(
    bands: Sequence[Band],
    makers: dict[int, list[Block]],
    heights: dict[int, int],
    step: dict[int, int],
) -> dict[int, int]:
    """The rows of memory of each map: from the first one still to be read to the last one made."""
    oldest = {key: heights[key] + 10**9 for key in makers}  # of those still to be read
    rings = dict.fromkeys(makers, 1)
    for band in reversed(bands):
        block = band.block
        if block.target is not None:
            key = id(block.target.root)
            rings[key] = max(rings[key], band.stop - min(oldest[key], band.start))
        if not band.border:
            for which, source in enumerate(block.sources):
                key = id(source.root)
                start, stop = block.reads(which, band.start, band.stop, heights[key])
                oldest[key] = min(oldest[key], start)
                rings[key] = max(rings[key], stop - start)
    for key, some in makers.items():
        # Rows of a call lie together: a band never runs over the end of its ring.
        whole = step[id(some[0])]
        assert some[0].target is not None
        # More than all rows and one border are never needed: the other border is the same.
        most = heights[key] + max(some[0].target.root.borders[:2])
        rings[key] = min(-(-rings[key] // whole) * whole, most)
    return rings
