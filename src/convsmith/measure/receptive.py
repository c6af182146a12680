"""Receptive fields: which positions of the image a value is computed from, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions, Region
from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.network.backward import Dependence, depends_on, periods, spatial_axes, strides
from convsmith.network.forward import views
from convsmith.network.local import is_moved, pixel, seen, walk
from convsmith.network.merges import drifts, merge_note, unequal_merge
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
        size: positions from the first to the last along each axis.
        stride: by how much the field moves when the output position moves by one; a fraction
            after upsampling.
        padding: how far the field of output position 0 reaches before the image's first position.
        region: the exact set for output position 0, in the image's coordinates; outside the image
            it lies in the padding.
        status: `exact`, `whole image`, `varies` (from position to position) or `upper bound`.
        reason: why it is not exact, or which layers join the whole image.
        phases: further fields, where output positions differ (after upsampling): for positions
            1, 2, … of one period along each axis, their regions.
        layer: the layer whose field it is.

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

        If the stride is a fraction, it is the centre of the field without phases.
        """
        if len(index) != len(self.size):
            raise ArgumentError(f"a position has {len(self.size)} numbers here, not {index!r}")
        return tuple(
            float(i * s) - p + (n - 1) / 2
            for i, s, p, n in zip(index, self.stride, self.padding, self.size, strict=True)
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
    box, _ = _seed(network, name, index)
    found = depends_on(network, name, [box])
    region = found.inputs.get(image, Region()).project(range(2, len(network[image].shape)))
    size = tuple(stop - start for start, stop in region.hull) or (0,) * region_dims(network)
    whole = size == network[image].shape[2:]
    return ReceptiveField(
        size=size,
        stride=(Fraction(0),) * len(size),
        padding=tuple(-start for start, _ in region.hull) or (0,) * len(size),
        region=region,
        status="upper bound" if found.guessed else "whole image" if whole else "exact",
        reason=_guesses(found),
        layer=name,
    )


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
    base, found = look(network, name, pixel(network, name, [0] * dims))
    if not base:
        return None
    phases: list[Region] = []
    varies = any(drifts(network, passed) for passed in found.layers)
    for axis, period in enumerate(periods(network)[name][:dims]):
        fields = [
            look(network, name, pixel(network, name, [k * (a == axis) for a in range(dims)]))[0]
            for k in range(1, period + 1)
        ]
        by = int(period * steps.get(axis, Fraction(0)))
        varies |= not is_moved(fields[-1], base, axis, by)
        phases += fields[:-1]
    return _field(network, name, base, phases, found, varies)


def _viewed(network: Network, name: str, view: View) -> ReceptiveField | None:
    """A field from what the forward pass has found."""
    dims = region_dims(network)
    base = view.region([0] * dims)
    if not base:
        return None
    phases = [
        view.region([k * (a == axis) for a in range(dims)])
        for axis, period in enumerate(view.periods)
        for k in range(1, period)
    ]
    names = [layer.name for layer in network.layers] if view.guessed or view.globals else []
    guessed, left_out = (
        tuple(names[number] for number in numbers) for numbers in (view.guessed, view.globals)
    )
    return _field(network, name, base, phases, Dependence({}, {}, guessed, left_out), False)


def _field(
    network: Network,
    name: str,
    base: Region,
    phases: Sequence[Region],
    found: Dependence,
    varies: bool,
) -> ReceptiveField:
    hull, steps = base.hull, strides(network)[name]
    return ReceptiveField(
        size=tuple(stop - start for start, stop in hull),
        stride=tuple(steps.get(axis, Fraction(0)) for axis in range(len(hull))),
        padding=tuple(-start for start, _ in hull),
        region=base,
        status="upper bound" if found.guessed else "varies" if varies else "exact",
        reason=_reason(network, name, found, varies),
        phases=tuple(phases),
        layer=name,
    )


def region_dims(network: Network) -> int:
    """The number of spatial axes of the network's input."""
    return max(0, len(network[_image(network)].shape) - 2)


_VARIES = "the field is not the same at every position: an interpolation is not by a whole factor"


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
    if shape and 0 not in places:
        box[0] = Positions.of([0])
    return tuple(box), places


def _image(network: Network) -> str:
    maps = [name for name in network.inputs if len(network[name].shape) > 2]
    if not maps:
        raise ArgumentError(f"{network.name} takes no maps: its inputs have no spatial axes")
    return maps[0]


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
    return _named("taken to read everything", found.guessed)


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names[:3])}" if names else ""
