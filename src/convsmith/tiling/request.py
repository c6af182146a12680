"""A request: one image, one target, and everything that was settled before the first tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from convsmith.errors import ArgumentError
from convsmith.text import times
from convsmith.tiling.budget import best_tile, middle_peak, output_size
from convsmith.tiling.geometry import Geometry, geometry, whole_shards
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.job import Recipe
from convsmith.tiling.mask import Mask
from convsmith.tiling.moved import unmoved
from convsmith.tiling.parts import best_part, compiled_peak
from convsmith.tiling.placement import Placement, placement
from convsmith.tiling.plan import expected_statistics
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.reduce import Reducer
from convsmith.tiling.stores.form import Form
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey
from convsmith.tiling.windows import blended_size, unit_lengths, window_peak

__all__ = ["Request", "settle"]

_READING = 3
"""A tile's pixels are held as they are stored, as float32 in numpy, and in the network's type."""


@dataclass(frozen=True, eq=False)
class Request:
    """What one run was asked for.

    Attributes:
        survey: of the network at the size of the image, or of a window.
        recipe: how tiles are computed.
        source: the image.
        prepare: from stored values to the network's.
        reducer: from the output to what is kept.
        mask: which positions are asked for.
        geometry: the target's dimensions, tiles and units.
        form: the target's shape and type.
        apart: the survey at the size of the parts that compiled tiles run on.
        notes: what was changed of what the user asked for.
    """

    survey: Survey
    recipe: Recipe
    source: Source
    prepare: Prepare
    reducer: Reducer
    mask: Mask | None
    geometry: Geometry
    form: Form
    notes: tuple[str, ...] = ()
    apart: Survey | None = None

    @property
    def kept(self) -> int:
        """Bytes of a position of the output that are kept."""
        positions = self.geometry.images * prod(self.geometry.size)
        return self.form.bytes // max(1, positions)

    @property
    def placement(self) -> Placement | None:
        """Where the result lies on the image; None where it lacks an axis of it."""
        frame, source = self.geometry, self.source
        if len(frame.size) != len(source.size):
            return None
        windowed = self.recipe.mode == "window"
        return placement(self.survey, source, frame.size, windowed=windowed)

    @property
    def expected(self) -> Statistics:
        """Stand-ins for what sweeps will find."""
        if self.recipe.mode == "window":
            return Statistics()
        return expected_statistics(self.survey)


def settle(
    surveyed: Survey,
    recipe: Recipe,
    source: Source,
    prepare: Prepare,
    reducer: Reducer,
    *,
    tile: int | Sequence[int] | None,
    memory: int,
    where: Any = None,
    shard: Sequence[int] | None = None,
    channels_last: bool = False,
    fill: float = 0,
) -> Request:
    """Settle tile, unit and target.

    Raises:
        ArgumentError: for settings that fit neither each other nor the budget.
    """
    prepare.check(source.channels)
    if recipe.backend == "compiled" and (reason := unmoved(surveyed)):
        raise ArgumentError(
            f"{surveyed.network.name} cannot be tiled in compiled kernels: {reason}; "
            "backend='torch' can"
        )
    windowed = recipe.mode == "window"
    kind = surveyed.result.results[0]
    channels = surveyed.result.shape[1] if len(surveyed.result.shape) > 1 else 1
    dtype = reducer.dtype(kind.dtype, channels)
    kept = np.dtype(dtype).itemsize * (channels if reducer.keeps_channels else 1)
    size = output_size(surveyed)
    notes: list[str] = []
    if windowed and len(size) != len(source.size):
        raise ArgumentError(
            f"{surveyed.network.name} cannot be run in windows: which axes of its output are those "
            "of the image cannot be told"
        )
    if windowed:
        size = blended_size(surveyed, recipe.overlap, source.size)
        lengths = unit_lengths(surveyed, size, memory, kept)
    elif tile is None and recipe.backend == "compiled":
        lengths = best_part(surveyed, memory, kept)
    elif tile is None:
        known = expected_statistics(surveyed)
        per_value = kind.itemsize * channels + _READING * 4 * source.channels
        lengths = best_tile(surveyed, memory, known, per_value)
    else:
        lengths = _lengths("tile", tile, size)
    unit = None
    if shard is not None:
        unit = whole_shards(lengths, _lengths("shard", shard, None, len(size)))
        if unit != lengths and not windowed and tile is not None:
            notes.append(
                f"written in units of {times(unit)}, not {times(lengths)}: a shard has one writer"
            )
    frame = geometry(
        surveyed,
        keeps_channels=reducer.keeps_channels,
        images=source.images,
        batched="N" in source.layout,
        channels_last=channels_last,
        tile=lengths,
        unit=unit,
    )
    if windowed:
        rest = dict(zip(frame.cut, size, strict=True))
        shape = tuple(rest.get(place, length) for place, length in enumerate(frame.shape))
        frame = replace(frame, shape=shape)
    stored = dict(zip((frame.letters[place] for place in frame.cut), frame.unit, strict=True))
    lengths_by = dict(zip("N" + frame.letters, (1, *frame.shape), strict=True)) | stored
    form = Form(
        shape=frame.stored,
        dtype=dtype,
        layout=frame.layout,
        unit=tuple(lengths_by[letter] for letter in frame.layout),
        fill=fill,
    )
    mask = None if where is None else Mask(where, frame.size)
    if tile is not None:
        peak = peak_of(surveyed, recipe, frame, kept)
        what, sides = ("window", output_size(surveyed)) if windowed else ("tile", frame.tile)
        if peak > memory:
            notes.append(f"a {what} of {times(sides)} needs {peak / 1e9:.2f} GB: more than memory")
    return Request(surveyed, recipe, source, prepare, reducer, mask, frame, form, tuple(notes))


def peak_of(surveyed: Survey, recipe: Recipe, frame: Geometry, kept: int) -> int:
    """The bytes of tensors alive while a tile in the middle runs, or a unit of windows."""
    if recipe.mode == "window":
        return window_peak(surveyed, frame.unit, kept)
    if recipe.backend == "compiled":
        return compiled_peak(surveyed, frame.tile, kept)
    return middle_peak(surveyed, frame.tile, expected_statistics(surveyed))


def _lengths(
    name: str, value: int | Sequence[int], size: Sequence[int] | None, dims: int | None = None
) -> tuple[int, ...]:
    """A length per axis, none longer than the output.

    Raises:
        ArgumentError: for what is no length.
    """
    dims = len(size) if size is not None else dims
    values: list[Any] = [value] * (dims or 0)
    if isinstance(value, (tuple, list)):
        values = list(value)
    if len(values) != dims or any(
        isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values
    ):
        raise ArgumentError(
            f"{name} must be a length, or {dims} of them, of at least 1: not {value}"
        )
    return tuple(map(min, values, size)) if size is not None else tuple(values)
