"""Receptive fields: which positions of the image a value is computed from, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm, prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions, Region
from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.network.backward import Dependence, depends_on, spatial_axes, strides

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ReceptiveField", "local_field", "true_field", "uniform_field"]


@dataclass(frozen=True)
class ReceptiveField:
    """The positions of the image that one output value depends on, rows first.

    Attributes:
        size: positions from the first to the last along each axis.
        stride: by how much the field moves when the output position moves by one; a fraction
            behind upsampling.
        padding: how far the field of output position 0 reaches before the image's first position.
        region: the exact set for output position 0, in the image's coordinates; outside the image
            it lies in the padding.
        status: `exact`, `whole image`, `varies` (from position to position) or `upper bound`.
        reason: why it is not exact, or which layers join the whole image.
        phases: further fields, where output positions differ (behind upsampling): for positions
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

        With a stride that is a fraction it is that of the phase-free field.
        """
        if len(index) != len(self.size):
            raise ArgumentError(f"a position has {len(self.size)} numbers here, not {index!r}")
        return tuple(
            float(i * s) - p + (n - 1) / 2
            for i, s, p, n in zip(index, self.stride, self.padding, self.size, strict=True)
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

    def __str__(self) -> str:
        size = "×".join(map(str, self.size))
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
    """
    image = _image(network)
    axes = spatial_axes(network)
    name = _last_map(network, name, axes)
    if not name:
        return None
    dims = region_dims(network)
    places = [axes[name].index(axis) if axis in axes[name] else None for axis in range(dims)]
    base, found = _local_region(network, name, image, places, [0] * dims)
    if not base:
        return None
    every = strides(network)
    steps = every[name]
    behind = [every[layer.name] for layer in network.upstream(name)]
    phases: list[Region] = []
    varies = False
    for axis in range(dims):
        step = steps.get(axis, Fraction(0))
        # After a period, every layer on the way has moved by whole positions.
        period = lcm(*((step / of[axis]).denominator for of in behind if axis in of))
        fields = [
            _local_region(network, name, image, places, [k * (a == axis) for a in range(dims)])[0]
            for k in range(1, period + 1)
        ]
        varies |= fields[-1] != _shifted(base, axis, int(period * step))
        phases += fields[:-1]
    hull = base.hull
    return ReceptiveField(
        size=tuple(stop - start for start, stop in hull),
        stride=tuple(steps.get(axis, Fraction(0)) for axis in range(dims)),
        padding=tuple(-start for start, _ in hull),
        region=base,
        status="upper bound" if found.guessed else "varies" if varies else "exact",
        reason=_guesses(found) or (_VARIES if varies else _left_out(found)),
        phases=tuple(phases),
        layer=name,
    )


def uniform_field(network: Network, name: str, region: Region) -> ReceptiveField:
    """The field of a layer whose region is known already and is the same at every position."""
    hull, steps = region.hull, strides(network)[name]
    return ReceptiveField(
        size=tuple(stop - start for start, stop in hull),
        stride=tuple(steps.get(axis, Fraction(0)) for axis in range(len(hull))),
        padding=tuple(-start for start, _ in hull),
        region=region,
        layer=name,
    )


def region_dims(network: Network) -> int:
    """The number of spatial axes of the network's input."""
    return max(0, len(network[_image(network)].shape) - 2)


_VARIES = "the field is not the same at every position: an interpolation is not by a whole factor"


def _shifted(region: Region, axis: int, by: int) -> Region:
    return Region((*box[:axis], box[axis].shift(by), *box[axis + 1 :]) for box in region)


def _local_region(
    network: Network,
    name: str,
    image: str,
    places: Sequence[int | None],
    index: Sequence[int],
) -> tuple[Region, Dependence]:
    shape = network[name].shape
    box = [Positions.range(0, length) for length in shape]
    for place, position in zip(places, index, strict=True):
        if place is not None:
            box[place] = Positions.of([position])
    if shape:
        box[0] = Positions.of([0]) if 0 not in places else box[0]
    found = depends_on(network, name, [tuple(box)], local=True)
    region = found.inputs.get(image, Region())
    return region.project(range(2, len(network[image].shape))), found


def _last_map(network: Network, name: str, axes: dict[str, Any]) -> str:
    """The layer itself if it still has a map, else the nearest one upstream that has."""
    for candidate in (network[name], *network.upstream(name)):
        shape = candidate.shape
        kept = [d for d, axis in enumerate(axes[candidate.name]) if axis is not None]
        if kept and candidate.kind != "input" and all(shape[d] > 0 for d in kept):
            return candidate.name
    return ""


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


def _left_out(found: Dependence) -> str:
    return f"left out: {', '.join(found.globals[:3])}" if found.globals else ""


def _guesses(found: Dependence) -> str:
    if not found.guessed:
        return ""
    return f"taken to read everything: {', '.join(found.guessed[:3])}"
