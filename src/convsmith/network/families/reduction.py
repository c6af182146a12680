"""Means, sums and extremes over whole axes, and running sums along one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.cost import Cost
from convsmith.network.families.family import NO_TRAIT, Family, Reads
from convsmith.network.families.rules import all_or_unknown, along, axes_nowhere, unmoved

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "reduced_dims"]


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


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape, over = layer.operands[0].shape, reduced_dims(layer)
    left = list(box)
    if len(box) == len(shape) and layer.operation.settings.get("keepdim"):
        left = [p for d, p in enumerate(box) if d not in over]
    yield 0, tuple(Positions.range(0, n) if d in over else left.pop(0) for d, n in enumerate(shape))


def _running_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`cumsum`: all up to the last position that is asked for."""
    (dim,) = reduced_dims(layer)
    yield 0, along(box, dim, Positions.range(0, box[dim].stop))


FAMILIES = (
    Family(
        kind="reduction",
        about="a mean, sum or extreme over whole axes",
        names="""all amax amin any argmax argmin cumprod cumsum logsumexp max mean min prod std sum
            var var_mean std_mean""",
        traits=NO_TRAIT,
        cost=_cost,
        reads=_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    )
    .but("mean", cost=_mean_cost)
    .but("std var std_mean var_mean", cost=_spread_cost)
    .but("cumprod cumsum", reads=_running_reads),
)
