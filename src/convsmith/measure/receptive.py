"""Receptive fields: which positions of the image a value is computed from, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions, Region
from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.network.backward import (
    image_dims,
    image_of,
    one_of_batch,
    periods,
    space_of,
    spatial_axes,
    strides,
)
from convsmith.network.dependence import Dependence, depends_on
from convsmith.network.families import Trait, family_of
from convsmith.network.forward import views
from convsmith.network.local import is_moved, pixel, seen, walk
from convsmith.network.merges import drifts, merge_note, unequal_merge, wraps
from convsmith.network.views import View
from convsmith.report import Column, Figure, Result, Table, field_picture, percent, shape
from convsmith.text import times

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "FIELD_COLUMNS",
    "READ",
    "ReceptiveField",
    "has_map",
    "local_field",
    "main_field",
    "true_field",
    "walked_field",
]

FIELD_COLUMNS = (
    Column("size", "field", align="right", format=shape),
    Column("stride", "stride", align="right"),
    Column("padding", "padding", align="right", format=shape),
    Column("coverage", "read", align="right", format=percent),
    Column("gaps", "largest gap", align="right", format=shape),
    Column("status", "status"),
)
"""What a table shows of a field; see `ReceptiveField.row`."""

READ = "read: the share of the field's box that the layer depends on."


@dataclass(frozen=True)
class ReceptiveField(Result):
    """The positions of the image that one output value depends on, rows first.

    Attributes:
        size: positions from the first to the last along each axis, of the middle of the map.
        stride: by how much the field moves when the output position moves by one; a fraction
            after upsampling.
        padding: how far the field of output position 0 reaches before the image's first position.
        region: the exact set for output position `index`, in the image's coordinates; outside the
            image it lies in the padding.
        status: `exact`, `whole image`, `varies` (from position to position) or `upper bound`.
        reason: why it is not exact, or which layers join the whole image.
        phases: further fields, where output positions differ (after upsampling): for positions
            1, 2, … of one period along each axis, their regions.
        layer: the layer whose field it is.
        index: the output position that `region` belongs to, one that reads as the middle does.
        spans: along each axis, for positions 0, 1, … of one period, the first position that is
            read and one past the last.
        limit: along each axis, what no position reads more than, where spans cannot tell.

    A field of the whole image has the image's size and stride 0.
    """

    size: tuple[int, ...]
    stride: tuple[Fraction, ...]
    padding: tuple[int, ...]
    region: Region = field(repr=False)
    status: str = "exact"
    reason: str = ""
    phases: tuple[Region, ...] = field(default=(), repr=False)
    layer: str = ""
    index: tuple[int, ...] = field(default=(), repr=False)
    spans: tuple[tuple[tuple[int, int], ...], ...] = field(default=(), repr=False)
    limit: tuple[int, ...] = field(default=(), repr=False)

    @property
    def largest(self) -> tuple[int, ...]:
        """The size of the largest field of any position along each axis, not only of the middle.

        Where fields do not move evenly with the position, the image itself is the bound.

        >>> import convsmith as cs
        >>> from torch import nn
        >>> up = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 3, 2, 1, 1))
        >>> field = cs.inspect(up, (1, 1, 16, 16)).receptive_field
        >>> field.size, field.largest, field.halo
        ((3, 3), (5, 5), ((2, 2), (2, 2)))
        """
        return self.limit or tuple(
            max([size, *(stop - start for start, stop in spans)])
            for size, spans in zip(self.size, self.spans or ((),) * len(self.size), strict=True)
        )

    @property
    def halo(self) -> tuple[tuple[int, int], ...]:
        """How far any position reads beyond its own place, before and after it, along each axis.

        The place of position i is from i·stride to (i + 1)·stride.
        """
        found = []
        for axis, spans in enumerate(self.spans or ((),) * len(self.size)):
            step = self.stride[axis] or Fraction(0)
            if not step:  # it does not move: every position may read all that this one does
                found.append((self.largest[axis], self.largest[axis]))
                continue
            before = [ceil(i * step - start) for i, (start, _) in enumerate(spans)]
            after = [ceil(stop - (i + 1) * step) for i, (_, stop) in enumerate(spans)]
            found.append((max([0, *before]), max([0, *after])))
        return tuple(found)

    @property
    def coverage(self) -> float:
        """The share of the box that is really read.

        >>> import convsmith as cs
        >>> from torch import nn
        >>> net = nn.Sequential(*[nn.Conv2d(1, 1, 3, dilation=2) for _ in range(3)])
        >>> field = cs.inspect(net, (1, 1, 32, 32)).receptive_field
        >>> field.size, round(field.coverage, 3), field.gaps
        ((13, 13), 0.29, (1, 1))
        """
        return self.region.count() / prod(self.size) if prod(self.size) else 0.0

    @property
    def gaps(self) -> tuple[int, ...]:
        """The longest run of positions along each axis that is never read, within the box."""
        return tuple(self.region.along(axis).largest_gap for axis in range(len(self.size)))

    def mask(self) -> np.ndarray[Any, Any]:
        """The exact set as an array of booleans, shaped `size`."""
        import numpy as np

        mask = np.zeros(self.size, dtype=bool)
        starts = [start for start, _ in self.region.hull]
        for box in self.region:
            axes = [[p - s for p in positions] for positions, s in zip(box, starts, strict=True)]
            mask[np.ix_(*axes)] = True
        return mask

    def centre_of(self, index: Sequence[int]) -> tuple[float, ...]:
        """The centre of the field of an output position, in the image's coordinates.

        If the stride is a fraction, it is as if every position read like the middle one.
        """
        if len(index) != len(self.size):
            raise ArgumentError(f"a position has {len(self.size)} numbers here, not {index!r}")
        own = self.index or (0,) * len(self.size)
        starts = [start for start, _ in self.region.hull] or [-p for p in self.padding]
        return tuple(
            float((i - at) * s) + start + (n - 1) / 2
            for i, at, s, start, n in zip(index, own, self.stride, starts, self.size, strict=True)
        )

    def row(self) -> tuple[Any, ...]:
        """Its values in the order of `FIELD_COLUMNS`."""
        return (
            self.size,
            times(self.stride),
            self.padding,
            self.coverage,
            self.gaps if any(self.gaps) else None,
            self.status + (f": {self.reason}" if self.reason else ""),
        )

    def table(self) -> Table:
        """One row: size, stride, padding, coverage and largest gap."""
        return Table(
            (Column("layer", "layer"), *FIELD_COLUMNS),
            [(self.layer or "output", *self.row())],
            title="Receptive field",
            note=READ,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; strides are numbers."""
        return {
            "size": list(self.size),
            "stride": [float(s) for s in self.stride],
            "padding": list(self.padding),
            "largest": list(self.largest),
            "halo": [list(sides) for sides in self.halo],
            "coverage": self.coverage,
            "gaps": list(self.gaps),
            "status": self.status,
            "reason": self.reason,
            "layer": self.layer,
        }

    def _repr_svg_(self) -> str:
        title = f"Receptive field of {self.layer or 'the output'}"
        return field_picture(self.region, title=title) if self.region else ""

    def _repr_html_(self) -> str:
        return Figure(self._repr_svg_()).html()

    def __str__(self) -> str:
        size = times(self.size)
        return size if self.status == "exact" else f"{size} ({self.status})"


def true_field(network: Network, name: str, index: Sequence[int] | None = None) -> ReceptiveField:
    """What one position of a layer really reads of the image, borders and global layers included.

    Args:
        network: a traced network with one input.
        name: a layer.
        index: a position along the layer's own spatial axes; the middle unless given.
    """
    image = _image(network)
    box, places = _seed(network, name, index)
    found = depends_on(network, name, [box])
    region = found.inputs.get(image, Region()).project(image_dims(network))
    dims = region_dims(network)
    size = tuple(stop - start for start, stop in region.hull) or (0,) * dims
    axes = spatial_axes(network)[name]
    position = [0] * dims
    for place in places:
        position[axes[place] or 0] = box[place].start
    whole = size == space_of(network) and max(size, default=0) > 1
    # Where a map is lost, and not read whole, a position is more than one of the image's own.
    ends = _where_lost(network, name) if len(places) < dims else []
    lost = any(not family_of(network[layer]).has(Trait.ENDS_AXIS) for layer in ends)
    bound = found.is_bound or (lost and not whole)
    status = "upper bound" if bound else "whole image" if whole else "exact"
    return ReceptiveField(
        size=size,
        stride=(Fraction(0),) * len(size),
        padding=tuple(-start for start, _ in region.hull) or (0,) * len(size),
        region=region,
        status=status,
        reason="" if status == "exact" else _whole_reason(network, name, found, len(places)),
        layer=name,
        index=tuple(position),
    )


def _whole_reason(network: Network, name: str, found: Dependence, places: int) -> str:
    """Why a true field may be larger than a position's: bounds, whole axes, and lost maps."""
    parts = [_guesses(found)]
    dims = region_dims(network)
    if places < dims and network[name].kind != "input":
        if lost := _where_lost(network, name):
            parts.append(_named("the map ends at", lost))
    else:
        seed = pixel(network, name, [0] * dims)
        parts.append(_named("through", depends_on(network, name, [seed], local=True).globals))
    return "; ".join(filter(None, parts))


def _where_lost(network: Network, name: str) -> list[str]:
    """The layers before `name` at which an axis of the image ends, last first."""
    axes = spatial_axes(network)
    found = []
    for layer in (network[name], *network.upstream(name)):
        before = {a for source in layer.inputs for a in axes[source]} - {None}
        if before - set(axes[layer.name]):
            found.append(layer.name)
    return found


def main_field(network: Network, name: str) -> ReceptiveField:
    """What the middle of a layer's map reads.

    It is the local field, with what lies in the padding, where that says it all; where borders or
    global paths change it, it is `true_field`.
    """
    true = true_field(network, name)
    local = local_field(network, name)
    steady = local is not None and local.layer == name and local.status == "exact"
    if local is not None and steady and true.status == "exact" and _within(network, local, true):
        return replace(local, limit=space_of(network)) if wraps(network, name) else local
    return replace(true, limit=_limit(network, name, true, local if steady else None))


def _limit(
    network: Network, name: str, true: ReceptiveField, local: ReceptiveField | None
) -> tuple[int, ...]:
    """What no position of a map reads more than, from its middle, and its local field if steady."""
    kept = [d for d, axis in enumerate(spatial_axes(network)[name]) if axis is not None]
    if all(network[name].shape[d] == 1 for d in kept):
        return true.size
    size = space_of(network)
    if local is None or local.reason:
        return size
    return tuple(map(max, true.size, map(min, local.largest, size)))


def _within(network: Network, local: ReceptiveField, true: ReceptiveField) -> bool:
    """Whether a local field, at the middle and within the image, is what is truly read there."""
    moves = []
    for at, own, step in zip(true.index, local.index, local.stride, strict=True):
        move = (at - own) * step
        if move.denominator != 1:
            return False
        moves.append(int(move))
    inside = []
    for box in local.region:
        cut = tuple(
            axis.shift(by).clip(0, n)
            for axis, by, n in zip(box, moves, space_of(network), strict=True)
        )
        if all(cut):
            inside.append(cut)
    one, other = Region(inside), true.region
    return one.count() == other.count() == (one | other).count()


def local_field(network: Network, name: str) -> ReceptiveField | None:
    """The field of a layer on a map without borders, global layers left out; None if there is none.

    Where every way from the image leads through a global layer (a classifier behind global
    pooling), it is the field of the last layer before one that still has a map.

    The fields of all layers are found together, in time linear in their number, where each position
    of a layer sees what another one a period away does; behind the others `walked_field` goes back.
    """
    _image(network)
    name = _last_map(network, name)
    if not name:
        return None
    view = views(network).get((name, 0))
    if view is None:
        return walked_field(network, name, whole_way=False)
    return _viewed(network, name, view)


def walked_field(network: Network, name: str, *, whole_way: bool = True) -> ReceptiveField | None:
    """The same, found by backward walks from this one layer, a few per position of a period.

    Args:
        network: a traced network.
        name: a layer.
        whole_way: walk back to the image, and not only to where the field is known already.
    """
    _image(network)
    name = _last_map(network, name)
    if not name:
        return None
    dims, steps = region_dims(network), strides(network)[name]
    look = walk if whole_way else seen

    def at(axis: int, k: int) -> Region:
        return look(network, name, pixel(network, name, [k * (a == axis) for a in range(dims)]))[0]

    base, found = look(network, name, pixel(network, name, [0] * dims))
    if not base:
        return None
    fields: list[list[Region]] = []
    varies = any(drifts(network, passed) for passed in found.layers)
    for axis, period in enumerate(periods(network)[name][:dims]):
        ahead = [at(axis, k) for k in range(1, period + 1)]
        by = int(period * steps.get(axis, Fraction(0)))
        varies |= not is_moved(ahead[-1], base, [by * (a == axis) for a in range(dims)])
        fields.append(ahead[:-1])
    middle, index = _middle(network, name), _alike(network, name)
    region = look(network, name, pixel(network, name, index))[0] if any(index) else base
    if middle != index:
        # Far from the first position, what is read at a fixed place lies far off.
        there = look(network, name, pixel(network, name, middle))[0]
        moves = [int((middle[a] - index[a]) * steps.get(a, 0)) for a in range(dims)]
        varies |= not is_moved(there, region, moves)
        index, region = (middle, there) if varies else (index, region)
    return _field(network, name, base, region or base, index, fields, found, varies)


def _viewed(network: Network, name: str, view: View) -> ReceptiveField | None:
    """A field from what the forward pass has found."""
    dims = region_dims(network)
    base = view.region([0] * dims)
    if not base:
        return None
    fields = [
        [view.region([k * (a == axis) for a in range(dims)]) for k in range(1, period)]
        for axis, period in enumerate(view.periods)
    ]
    index = tuple(i % n for i, n in zip(_middle(network, name), view.periods, strict=True))
    region = view.region(index) or base
    names = [layer.name for layer in network.layers] if view.guessed or view.globals else []
    guessed, left_out = (
        tuple(names[number] for number in numbers) for numbers in (view.guessed, view.globals)
    )
    found = Dependence({}, {}, guessed, left_out)
    return _field(network, name, base, region, index, fields, found, False)


def _middle(network: Network, name: str) -> tuple[int, ...]:
    """The middle of a layer's map, 0 along an axis that it has lost."""
    shape, axes = network[name].shape, spatial_axes(network)[name]
    dims = region_dims(network)
    return tuple(shape[axes.index(a)] // 2 if a in axes else 0 for a in range(dims))


def _alike(network: Network, name: str) -> tuple[int, ...]:
    """A position of the first period that reads as the middle does."""
    lengths = periods(network)[name]
    return tuple(i % n for i, n in zip(_middle(network, name), lengths, strict=False))


def _field(
    network: Network,
    name: str,
    base: Region,
    region: Region,
    index: Sequence[int],
    fields: Sequence[Sequence[Region]],
    found: Dependence,
    varies: bool,
) -> ReceptiveField:
    """A field from that of position 0, that of `index`, and those of a period along each axis."""
    steps = strides(network)[name]
    return ReceptiveField(
        size=tuple(stop - start for start, stop in region.hull),
        stride=tuple(steps.get(axis, Fraction(0)) for axis in range(len(region.hull))),
        padding=tuple(-start for start, _ in base.hull),
        region=region,
        status="upper bound" if found.is_bound else "varies" if varies else "exact",
        reason=_reason(network, name, found, varies),
        phases=tuple(phase for along in fields for phase in along),
        layer=name,
        index=tuple(index),
        spans=tuple(
            tuple(each.hull[axis] if each else (0, 0) for each in (base, *along))
            for axis, along in enumerate(fields)
        ),
        limit=space_of(network) if varies else (),
    )


def region_dims(network: Network) -> int:
    """The number of spatial axes of the network's input."""
    return len(image_dims(network))


_VARIES = (
    "the field is not the same at every position: an interpolation is not by a whole factor, the "
    "map is rolled, flipped or transposed, or one place of it is read from everywhere"
)


def has_map(network: Network, name: str) -> bool:
    """Whether the result of a layer still runs along the image's axes."""
    layer = network[name]
    kept = [d for d, axis in enumerate(spatial_axes(network)[name]) if axis is not None]
    return bool(kept) and layer.kind != "input" and all(layer.shape[d] > 0 for d in kept)


def _last_map(network: Network, name: str) -> str:
    """The layer itself if it still has a map, else the nearest one upstream that has; or ''."""
    upstream = (layer.name for layer in network.upstream(name))
    return next((n for n in chain([name], upstream) if has_map(network, n)), "")


def _seed(network: Network, name: str, index: Sequence[int] | None) -> tuple[Box, list[int]]:
    """All channels of the first image at one position, by default the middle of the map."""
    shape = network[name].shape
    places = [d for d, axis in enumerate(spatial_axes(network)[name]) if axis is not None]
    at = [shape[d] // 2 for d in places] if index is None else list(index)
    if len(at) != len(places) or any(
        not 0 <= i < shape[d] for i, d in zip(at, places, strict=True)
    ):
        raise ArgumentError(f"{name} has no position {tuple(at)}: its map is {shape}")
    box = [Positions.range(0, length) for length in shape]
    for place, position in zip(places, at, strict=True):
        box[place] = Positions.of([position])
    if one_of_batch(network, name):
        box[0] = Positions.of([0])
    return tuple(box), places


def _image(network: Network) -> str:
    image = image_of(network)
    if not image:
        raise ArgumentError(f"{network.name} takes no maps: its inputs have no spatial axes")
    return image


def _reason(network: Network, name: str, found: Dependence, varies: bool) -> str:
    """Why a field is not exact, what is left out, and how far apart its branches meet."""
    reason, meets = _guesses(found), merge_note(network, name)
    if not reason and varies:
        nearest = unequal_merge(network, name)
        if nearest and nearest != name:
            reason = f"behind {nearest}, which {merge_note(network, nearest)}"
        elif not nearest:
            reason = _VARIES
    elif not reason:
        reason = _named("left out", found.globals)
    return "; ".join(filter(None, (reason, meets)))


def _guesses(found: Dependence) -> str:
    guessed = _named("taken to read everything", found.guessed)
    rounded = _named("rounded up, being in too many parts, at", found.rounded)
    return "; ".join(filter(None, (guessed, rounded)))


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names[:3])}" if names else ""
