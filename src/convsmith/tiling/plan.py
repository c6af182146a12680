"""The plan of a run, made before it starts: whether it is exact, and what it costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import torch

from convsmith.report import Column, Result, Table, bytes_, count, percent
from convsmith.text import times
from convsmith.tiling.budget import middle_peak, output_size, tile_spans, work
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.parts import compiled_peak, part_of
from convsmith.tiling.ranges import Key, ranges
from convsmith.tiling.spans import Span, whole
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Obstacle, Survey

__all__ = ["Costs", "Plan", "costs", "expected_statistics"]

_BORDER = 8
_MIDDLE = 8
"""So many tiles at each end of an axis, and so many between, are walked; those between are alike
but for where they fall on strides, and stand for all others."""


@dataclass(frozen=True, repr=False)
class Plan(Result):
    """What a run will do.

    Attributes:
        network: its name.
        image: channels and spatial lengths of the image.
        output: the shape of the target.
        dtype: of the target.
        mode: `exact` or `window`.
        verdict: `exact`, `exact in n sweeps`, `window` (as sliding windows are) or `impossible`.
        obstacles: the layers that join the map, each with its reason.
        tile: the lengths of a tile of the output.
        unit: the lengths of what one writer writes at once: a whole shard.
        tiles: how many there are.
        units: how many there are.
        halo: for each axis, pixels of the image that a tile reads before and after its own.
        recompute: work done more than once, as a share of the whole image's.
        peak_bytes: of tensors alive at once, for each worker.
        read_amplification: bytes decoded, over the bytes of the image.
        written_bytes: of the target, without compression.
        precision: of compiled kernels; None where torch computes.
        seconds: expected, from one measured tile; None if none was measured.
        notes: what was changed, and what to look out for.
    """

    network: str
    image: tuple[int, ...]
    output: tuple[int, ...]
    dtype: str
    mode: str
    verdict: str
    obstacles: tuple[Obstacle, ...]
    tile: tuple[int, ...] = ()
    unit: tuple[int, ...] = ()
    tiles: int = 0
    units: int = 0
    halo: tuple[tuple[int, int], ...] = ()
    recompute: float = 0.0
    peak_bytes: int = 0
    read_amplification: float = 1.0
    written_bytes: int = 0
    precision: str | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether the run can be done."""
        return self.verdict != "impossible"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return {"report": "tile plan", "version": 1} | super().to_dict()

    def table(self) -> Table:
        """A row per figure."""
        rows = [("result", self.verdict)]
        rows += [("in the way", str(obstacle)) for obstacle in self.obstacles]
        if self.possible:
            rows += [
                ("image", times(self.image)),
                ("target", f"{times(self.output)} {self.dtype}"),
                *([("kernels", self.precision)] if self.precision else []),
                ("tile", f"{times(self.tile)}, {count(self.tiles)} of them"),
                ("written at once", f"{times(self.unit)}, {count(self.units)} of them"),
                ("halo", ", ".join(f"{low} + {high}" for low, high in self.halo) or "none"),
                ("computed again", percent(self.recompute)),
                ("peak memory", bytes_(self.peak_bytes)),
                ("decoded", f"{self.read_amplification:.2f} × the image"),
                ("written", bytes_(self.written_bytes)),
            ]
            if self.seconds is not None:
                rows.append(("expected", f"{self.seconds:.1f} s"))
        rows += [("note", note) for note in self.notes]
        return Table([Column("what", "plan"), Column("value", self.network, wrap=True)], rows)

    def __repr__(self) -> str:
        if not self.possible:
            return f"Plan({self.network}: impossible, {self.obstacles[0]})"
        halo = ", ".join(f"{low} + {high}" for low, high in self.halo)
        tiles = f"{self.tiles} tiles of {times(self.tile)}"
        return f"Plan({self.network}: {self.verdict}, {tiles}, halo {halo})"


@dataclass(frozen=True)
class Costs:
    """What all tiles together cost.

    Attributes:
        halo: for each axis of the image, pixels before and after a tile's own.
        recompute: work done more than once, as a share of the whole.
        peak_bytes: the most bytes of tensors alive at once.
        read_amplification: bytes decoded over bytes of the image.
        tile_share: the work of a middle tile over that of all tiles.
    """

    halo: tuple[tuple[int, int], ...]
    recompute: float
    peak_bytes: int
    read_amplification: float
    tile_share: float


def expected_statistics(survey: Survey) -> Statistics:
    """Stand-ins for the statistics that sweeps will find: only their names are looked at."""
    nothing = torch.empty(0)
    names = [name for level in survey.levels for name in level]
    norms = {name for name in names if survey.network[name].kind == "norm"}
    return Statistics(
        {name: nothing for name in names if name not in norms},
        dict.fromkeys(norms, (nothing, nothing)),
    )


def compiled_costs(survey: Survey, geometry: Geometry, kept: int) -> Costs:
    """The same for compiled tiles: each layer runs on all of the part that a tile depends on."""
    along = _tiles_along(geometry)
    samples = [_sample(spans) for spans in along]
    size, outputs = survey.image.shape[2:], output_size(survey)
    read = [0.0] * len(along)
    halo = [(0, 0)] * len(along)
    for turn in range(max(map(len, samples))):
        chosen = [some[min(turn, len(some) - 1)][0] for some in samples]
        part = part_of(survey, chosen, geometry.tile)
        for axis, some in enumerate(samples):
            if turn < len(some):
                (start, stop), ratio = chosen[axis], Fraction(size[axis], outputs[axis])
                read[axis] += some[turn][1] * (part[axis][1] - part[axis][0])
                before, after = floor(start * ratio) - part[axis][0], part[axis][1] - stop * ratio
                halo[axis] = (max(halo[axis][0], before), max(halo[axis][1], ceil(after)))
    share = prod(r / n for r, n in zip(read, size, strict=True))
    middle = prod(
        b - a
        for a, b in part_of(survey, [spans[len(spans) // 2] for spans in along], geometry.tile)
    )
    peak = compiled_peak(survey, geometry.tile, kept)
    return Costs(tuple(halo), max(0.0, share - 1), peak, share, middle / (share * prod(size)))


def costs(survey: Survey, geometry: Geometry, source: Source | None, known: Statistics) -> Costs:
    """Walk the tiles that differ, and add up what all of them cost.

    Axes do not depend on each other, so the walks go along the diagonal and the sums are products.
    """
    axes = [axis for axis in survey.axes[survey.output] if axis is not None]
    along = [_sample(spans) for spans in _tiles_along(geometry)]
    image = (survey.image.name, 0)
    lengths: dict[Key, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    halo = dict.fromkeys(range(len(survey.image.shape) - 2), (0, 0))
    sizes = dict(zip(axes, output_size(survey), strict=True))
    for turn in range(max(map(len, along), default=1)):
        chosen = [some[min(turn, len(some) - 1)][0] for some in along]
        weights = {
            axis: some[turn][1] if turn < len(some) else 0.0
            for axis, some in zip(axes, along, strict=True)
        }
        tile = {survey.output: tile_spans(survey, chosen)}
        needs = ranges(survey, tile, values=known.values, normalised=known.moments)
        for key, spans in needs.spans.items():
            for axis, (start, stop) in zip(survey.axes[key[0]], spans, strict=True):
                if axis is not None and axis in weights:
                    lengths[key][axis] += weights[axis] * (stop - start)
        lengths_of_image = needs.spans.get(image)
        if lengths_of_image is not None:
            for axis, span in zip(axes, chosen, strict=True):
                ratio = Fraction(survey.image.shape[2 + axis], sizes[axis])
                low, high = lengths_of_image[2 + axis]
                before = floor(span[0] * ratio) - low
                after = high - ceil(span[1] * ratio)
                halo[axis] = (max(halo[axis][0], before), max(halo[axis][1], after))
        for key in needs.spans:
            lengths.setdefault(key, defaultdict(float))
    total, once = _work(survey, geometry, lengths, known, axes)
    swept = sum(_upstream_work(survey, level) for level in survey.levels)
    middle = _middle_work(survey, geometry, known)
    return Costs(
        tuple(halo[axis] for axis in sorted(halo)),
        max(0.0, (total + swept) / max(once, 1) - 1),
        middle_peak(survey, geometry.tile, known),
        _amplification(survey, geometry, source, lengths.get(image, {}), axes, known),
        middle / max(total + swept, 1),
    )


def _tiles_along(geometry: Geometry) -> list[list[Span]]:
    along = []
    for length, unit, tile in zip(geometry.size, geometry.unit, geometry.tile, strict=True):
        along.append(
            [
                (at, min(at + tile, start + unit, length))
                for start in range(0, length, unit)
                for at in range(start, min(start + unit, length), tile)
            ]
        )
    return along


def _sample(spans: list[Span]) -> list[tuple[Span, float]]:
    """Some spans of an axis, each with how many it stands for."""
    if len(spans) <= 2 * _BORDER + _MIDDLE:
        return [(span, 1.0) for span in spans]
    middle = spans[_BORDER:-_BORDER]
    some = [middle[i * len(middle) // _MIDDLE] for i in range(_MIDDLE)]
    ends = [(span, 1.0) for span in spans[:_BORDER] + spans[-_BORDER:]]
    return [*ends[:_BORDER], *[(s, len(middle) / _MIDDLE) for s in some], *ends[_BORDER:]]


def _work(
    survey: Survey,
    geometry: Geometry,
    lengths: dict[Key, dict[int, float]],
    known: Statistics,
    axes: list[int],
) -> tuple[float, float]:
    """The work of all tiles, and of the whole image once."""
    numbers = dict(zip(axes, map(len, _tiles_along(geometry)), strict=True))
    total = once = 0.0
    for (name, result), along in lengths.items():
        layer = survey.network[name]
        if layer.constant or layer.kind == "input" or name in known.values:
            continue
        full = work(layer, whole(layer.results[result].shape))
        share = 1.0
        own = dict(zip(survey.axes[name], layer.results[result].shape, strict=True))
        for axis in axes:
            share *= along[axis] / own[axis] if axis in along else numbers[axis]
        total += full * share
        once += full
    return total, once


def _upstream_work(survey: Survey, level: Sequence[str]) -> float:
    """The work of one sweep: all that comes before the layers it gathers for."""
    layers = {layer.name: layer for name in level for layer in survey.network.upstream(name)}
    return float(
        sum(
            work(layer, whole(layer.shape))
            for layer in layers.values()
            if not layer.constant and layer.kind != "input"
        )
    )


def _middle_work(survey: Survey, geometry: Geometry, known: Statistics) -> float:
    spans = [spans[len(spans) // 2] for spans in _tiles_along(geometry)]
    tile = {survey.output: tile_spans(survey, spans)}
    needs = ranges(survey, tile, values=known.values, normalised=known.moments)
    return float(
        sum(
            work(survey.network[name], part)
            for (name, _), part in needs.spans.items()
            if not survey.network[name].constant
            and survey.network[name].kind != "input"
            and name not in known.values
        )
    )


def _amplification(
    survey: Survey,
    geometry: Geometry,
    source: Source | None,
    along: dict[int, float],
    axes: list[int],
    known: Statistics,
) -> float:
    size = survey.image.shape[2:]
    ratio = prod(along[axis] / size[axis] for axis in axes if axis in along) if along else 1.0
    ratio *= 1 + len(survey.levels)
    if source is None or not source.block:
        return ratio
    spans = [spans[len(spans) // 2] for spans in _tiles_along(geometry)]
    tile = {survey.output: tile_spans(survey, spans)}
    needs = ranges(survey, tile, values=known.values, normalised=known.moments)
    if (survey.image.name, 0) not in needs.spans:
        return ratio
    part = needs.spans[survey.image.name, 0][2:]
    plain = prod(b - a for a, b in part) * source.channels * source.dtype.itemsize
    return ratio * source.decoded_bytes(part) / plain
