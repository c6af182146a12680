"""Means, sums and extremes over whole axes, and running sums along one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    along,
    axes_in_place,
    axes_nowhere,
    unmoved,
)
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "reduced_axes", "reduced_channels", "reduced_dims", "reduced_reads"]


def reduced_dims(layer: Layer) -> set[int]:
    """The dimensions of the operand that a reduction runs over."""
    total = len(layer.operands[0].shape)
    dims = layer.operation.settings.get("dim")
    chosen = list(range(total)) if dims is None or dims == [] else dims
    return {d % total for d in ([chosen] if isinstance(chosen, int) else chosen)}


def _cost(layer: Layer) -> Cost:
    return Cost(0, layer.operands[0].numel)


def _mean_cost(layer: Layer) -> Cost:
    """A sum, and a division per result."""
    return Cost(0, layer.operands[0].numel + layer.numel)


def _spread_cost(layer: Layer) -> Cost:
    """Centred, squared and added."""
    return Cost(0, 3 * layer.operands[0].numel)


def reduced_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The whole of the dimensions that are reduced, and the same place along the others."""
    shape, over = layer.operands[0].shape, reduced_dims(layer)
    left = list(box)
    if len(box) == len(shape) and layer.operation.settings.get("keepdim"):
        left = [p for d, p in enumerate(box) if d not in over]
    yield 0, tuple(Positions.range(0, n) if d in over else left.pop(0) for d, n in enumerate(shape))


def reduced_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """The axes of the dimensions that are left."""
    over, before = reduced_dims(layer), sources[0]
    kept = [None if d in over else axis for d, axis in enumerate(before)]
    if len(layer.shape) == len(before):
        return tuple(kept)
    left = [axis for d, axis in enumerate(kept) if d not in over]
    return tuple(left) if len(left) == len(layer.shape) else axes_nowhere(layer, sources)


def reduced_channels(passage: Passage) -> Positions | None:
    """Where all channels are summed, every one of them is in every result."""
    if passage.complete:
        return passage.after.channels
    over, shape = reduced_dims(passage.layer), passage.before.shape
    dims = [d for d in passage.before.dims if shape[d] > 1]
    return passage.after.channels if over.issuperset(dims) and 0 not in over else None


def _running_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`cumsum`: all up to the last position that is asked for; without borders, the whole axis."""
    (dim,) = reduced_dims(layer)
    stop = box[dim].stop if bounded else layer.shape[dim]
    yield 0, along(box, dim, Positions.range(0, stop))


FAMILIES = (
    Family(
        kind="reduction",
        about="a mean, sum or extreme over whole axes",
        names="""all amax amin any argmax argmin channel_argmax cumprod cumsum logsumexp max mean
            min prod std sum var var_mean std_mean""",
        traits=Trait.POINTWISE | Trait.ENDS_AXIS,
        cost=_cost,
        reads=reduced_reads,
        axes=reduced_axes,
        carry=reduced_channels,
        step=unmoved,
    )
    .but("mean", cost=_mean_cost)
    .but("std var std_mean var_mean", cost=_spread_cost)
    .but(
        "cumprod cumsum",
        adds=Trait.JOINS_AXIS,
        lacks=Trait.POINTWISE,
        reads=_running_reads,
        axes=axes_in_place,
        carry=all_or_unknown,
    ),
)
