"""Blocks of a user's own Dask array: each is computed from just the part of the image it needs."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError, MissingExtra
from convsmith.text import times
from convsmith.tiling.budget import tile_spans
from convsmith.tiling.job import Job, run_block
from convsmith.tiling.parts import part_of
from convsmith.tiling.ranges import ranges
from convsmith.tiling.request import Request
from convsmith.tiling.spans import Span, Spans, lengths, slices
from convsmith.tiling.stores.layout import SPATIAL
from convsmith.tiling.stores.source import Source
from convsmith.tiling.stores.target import existing_unit

__all__ = ["check_array", "check_blocks", "chunk_lengths", "lazy"]


def check_array(array: Any) -> None:
    """Refuse what is not a Dask array of known chunks.

    Raises:
        ArgumentError: saying what to do instead.
        MissingExtra: where Dask is not installed.
    """
    try:
        import dask.array
    except ImportError:
        raise MissingExtra("blocks of Dask arrays", extra="tile", package="dask") from None
    if not isinstance(array, dask.array.Array):
        raise ArgumentError(
            f"map_blocks takes a dask array, not {type(array).__name__}: run takes arrays and paths"
        )
    if any(map(isnan, array.shape)):
        raise ArgumentError(
            f"the dask array has unknown lengths {array.shape}: call compute_chunk_sizes() first"
        )


def check_blocks(request: Request, target: Any) -> None:
    """Refuse blocks of which two would write into one shard, or chunk, of a target.

    Two tasks that change one shard at once lose data without an error.

    Raises:
        ArgumentError: naming both sizes.
    """
    geometry, form = request.geometry, request.form
    if not hasattr(target, "shape") or not hasattr(target, "dtype"):
        raise ArgumentError(
            f"a target of map_blocks is the array that the result will be stored in, not {target!r}"
        )
    if tuple(target.shape) != form.shape or np.dtype(target.dtype) != np.dtype(form.dtype):
        raise ArgumentError(
            f"the target holds {times(target.shape)} {target.dtype}, the result is "
            f"{times(form.shape)} {form.dtype}"
        )
    for letter, unit, block, length in zip(
        geometry.layout, existing_unit(target), form.unit, form.shape, strict=True
    ):
        if block % unit and block < length:
            raise ArgumentError(
                f"blocks of {block} along {letter} would share shards of {unit} of the target, "
                f"and lose data: tile with a multiple of {unit}, or let run write the target"
            )


def chunk_lengths(request: Request) -> tuple[int, ...]:
    """Lengths of blocks that are as large as the chunks of the image, if they fit the memory."""
    source, geometry = request.source, request.geometry
    chunks = dict(zip(source.layout, source.block, strict=True))
    full = dict(zip(SPATIAL[len(source.size)], source.size, strict=True))
    letters = [geometry.letters[place] for place in geometry.cut]
    return tuple(
        min(most, -(-chunks[letter] * length // full[letter]))
        for letter, most, length in zip(letters, geometry.tile, geometry.size, strict=True)
    )


def lazy(request: Request) -> Any:
    """The result as a Dask array; nothing is computed yet."""
    import dask
    import dask.array

    geometry, form, source = request.geometry, request.form, request.source
    job = Job.pack(
        request.survey, request.apart, request.recipe, request.prepare, source, None, form,
        geometry, request.reducer, (), None,
    )  # fmt: skip
    shared = dask.delayed(job, name=f"convsmith-{job.key}", traverse=False)
    compute, shape = dask.delayed(_block, pure=True), tuple(map(int, source.array.shape))
    blocks = np.empty([-(-n // by) for n, by in zip(form.shape, form.unit, strict=True)], object)
    for unit in geometry.units():
        spans = geometry.spans(unit)
        place = geometry.place(unit[0], spans)
        read = _place(source, unit[0], _read(request, spans))
        starts = tuple(start for start, _ in read)
        task = compute(shared, source.array[slices(read)], starts, shape, source.layout, unit)
        at = tuple(start // by for (start, _), by in zip(place, form.unit, strict=True))
        blocks[at] = dask.array.from_delayed(task, lengths(place), dtype=form.dtype)
    return dask.array.block(blocks.tolist())


def _read(request: Request, spans: Sequence[Span]) -> Spans:
    """The part of the image that a unit needs."""
    surveyed, geometry = request.survey, request.geometry
    if request.recipe.backend == "compiled":
        parts = [part_of(surveyed, tile, geometry.tile) for tile in geometry.tiles(spans)]
        return tuple((min(a)[0], max(b for _, b in a)) for a in zip(*parts, strict=True))
    needs = ranges(surveyed, {surveyed.output: tile_spans(surveyed, spans)})
    image = (surveyed.image.name, 0)
    return needs.spans[image][2:] if image in needs.spans else ((0, 1),) * len(request.source.size)


def _place(source: Source, image: int, spans: Spans) -> Spans:
    """The same in the order of the image's dimensions, all channels of it."""
    along = dict(zip(SPATIAL[len(spans)], spans, strict=True))
    along |= {"N": (image, image + 1), "C": (0, source.channels)}
    return tuple(along[letter] for letter in source.layout)


def _block(
    job: Job, part: NDArray[Any], starts: tuple[int, ...], shape: tuple[int, ...], layout: str,
    unit: tuple[int, ...],
) -> NDArray[Any]:  # fmt: skip
    """One block of the result, from the part of the image that it needs."""
    whole = Source(_Part(part, starts, shape), layout, "a block of the dask array")
    return run_block(job, whole, unit)


class _Part:
    """A part of an array that is indexed as the whole."""

    def __init__(
        self, values: NDArray[Any], starts: tuple[int, ...], shape: tuple[int, ...]
    ) -> None:
        self.values, self.starts, self.shape = values, starts, shape
        self.dtype = values.dtype

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        return self.values[tuple(map(_moved, index, self.starts))]


def _moved(at: int | slice, first: int) -> int | slice:
    if isinstance(at, int):
        return at - first
    return at if at.start is None else slice(at.start - first, at.stop - first)
