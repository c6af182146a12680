"""Values picked or placed by what is computed: gather, sort, embedding, grid sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box
from convsmith.network.cost import Cost
from convsmith.network.families.family import NO_TRAIT, Family, Reads
from convsmith.network.families.rules import all_or_unknown, axes_nowhere, free, unmoved
from convsmith.network.shapes import whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _embedding_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Any row of the table, and the index of each result."""
    yield 0, whole(layer.operands[0].shape)
    if len(layer.operands) > 1:
        yield 1, box[:-1]


def _sample_cost(layer: Layer) -> Cost:
    """Each value is a weighted sum of its neighbours; where they lie is not counted.

    The neighbours are 2 per axis, 4 for the bicubic mode, and one for the nearest.
    """
    each = {0: 2, 1: 1, 2: 4}[layer.operation.settings["interpolation_mode"]]
    taps: int = each ** (len(layer.shape) - 2)
    return Cost(0, layer.numel * (2 * taps - 1) if taps > 1 else 0)


def _sample_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Any position of the map, in the same channels, and the place that the grid names."""
    image, grid = (operand.shape for operand in layer.operands)
    yield 0, (*box[:2], *whole(image[2:]))
    yield 1, (box[0], *box[2:], *whole(grid[-1:]))


FAMILIES = (
    Family(
        kind="index",
        about="values picked or placed by computed indices",
        names="""gather im2col index index_put index_select masked_select meshgrid one_hot scatter
            sort take topk tril triu unfold grid_sampler grid_sampler_2d grid_sampler_3d""",
        traits=NO_TRAIT,
        cost=free,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    ).but("grid_sampler grid_sampler_2d grid_sampler_3d", cost=_sample_cost, reads=_sample_reads),
    Family(
        kind="embedding",
        about="a row of a table for each index",
        names="embedding",
        traits=NO_TRAIT,
        cost=free,
        reads=_embedding_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    ),
)
