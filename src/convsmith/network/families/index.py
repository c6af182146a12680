"""Values picked or placed by indices that are computed: gather, sort, embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box
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


FAMILIES = (
    Family(
        kind="index",
        about="values picked or placed by computed indices",
        names="""gather im2col index index_put index_select masked_select meshgrid one_hot scatter
            sort take topk tril triu unfold""",
        traits=NO_TRAIT,
        cost=free,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    ),
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
