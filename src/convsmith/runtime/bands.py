"""The order in which bands of rows are computed, and how many rows each map must keep.

Nothing is computed twice and nothing earlier than it is needed: a band asks for the rows it reads,
by the windows' own arithmetic, and so on back to the input. How tall each ring has to be follows
from the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.errors import ArgumentError
from convsmith.runtime.blocks import Block
from convsmith.runtime.maps import Layout, Map

__all__ = ["Band", "Plan", "plan"]

_BAND_BYTES = 192 * 1024
"""Of the rows that a call writes: what they and the rows it reads leave room for in a second-level
cache of 1 MiB. Found by trial on MobileNetV2; 128 to 256 KiB are alike."""


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
    blocks: Sequence[Block], sizes: Sequence[tuple[int, int]], band_bytes: int = _BAND_BYTES
) -> Plan:
    """Bands and rings for inputs of the given sizes (rows, pixels), in the order of the inputs.

    Raises:
        ArgumentError: where a block has no output for its size, or sizes to be added differ.
    """
    every = _sizes(blocks, sizes)
    makers: dict[int, list[Block]] = {}
    for block in blocks:
        if block.target is not None:
            makers.setdefault(id(block.target.root), []).append(block)
    heights = {key: every[id(some[0])][0] for key, some in makers.items()}
    step = {id(block): _rows(block, every[id(block)], band_bytes) for block in blocks}
    done = {id(block): 0 for block in blocks}
    bands: list[Band] = []

    def band(block: Block) -> Band:
        start = done[id(block)]
        return Band(block, start, min(start + step[id(block)], every[id(block)][0]))

    def lacking(wanted: Band) -> Block | None:
        """The maker of the first source that has not all the rows a band reads."""
        for which, source in enumerate(wanted.block.sources):
            key = id(source.root)
            height = heights[key]
            _, stop = wanted.block.reads(which, wanted.start, wanted.stop, height)
            for maker in makers[key]:
                assert maker.target is not None
                if done[id(maker)] < min(stop, height) and maker.target.overlaps(source):
                    return maker
        return None

    for last in blocks:
        stack = [last] if last.target is None else []
        while stack:
            wanted = band(stack[-1])
            if (maker := lacking(wanted)) is not None:
                stack.append(maker)
                continue
            block = stack.pop()
            bands.append(wanted)
            done[id(block)] = wanted.stop
            height = every[id(block)][0]
            below = block.target.root.borders[1] if block.target is not None else 0
            if wanted.stop == height and below:
                bands.append(Band(block, height, height + below, border=True))
            if wanted.stop < height and block is last:
                stack.append(block)
    rings = _rings(bands, makers, heights, step)
    layouts, memory = {}, 0
    for key, some in makers.items():
        assert some[0].target is not None
        layout = Layout(some[0].target.root, *every[id(some[0])], rings[key], memory)
        layouts[key] = layout
        # Maps whose rows begin at the same place of a page would push each other from the cache.
        memory += layout.nbytes + 256
    return Plan(tuple(bands), layouts, every, memory)


def _sizes(blocks: Sequence[Block], sizes: Sequence[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    given = iter(sizes)
    found: dict[int, tuple[int, int]] = {}
    maps: dict[int, tuple[int, int]] = {}
    for block in blocks:
        size = block.size(maps[id(block.sources[0])]) if block.sources else next(given)
        residual = getattr(block, "residual", None)
        if residual is not None:
            _same(block, "add", size, maps[id(residual)])
        found[id(block)] = size
        target = block.target
        while target is not None:
            _same(block, "be joined to", size, maps.setdefault(id(target), size))
            target = target.parent
    return found


def _same(block: Block, what: str, size: tuple[int, int], other: tuple[int, int]) -> None:
    if size != other:
        raise ArgumentError(
            f"{block.name} of {size[0]}×{size[1]} cannot {what} {other[0]}×{other[1]}"
        )


def _rows(block: Block, size: tuple[int, int], band_bytes: int) -> int:
    """Rows a call: as many as fit the cache, in bands of like height."""
    height, width = size
    written = (block.target or block.sources[0]).root
    most = max(1, band_bytes // (4 * width * written.pitch))
    return -(-height // -(-height // most)) if most < height else height


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
        whole = step[id(some[0])]  # parts of a map have bands of one height
        rings[key] = -(-rings[key] // whole) * whole
    return rings
