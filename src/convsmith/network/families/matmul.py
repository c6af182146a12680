"""Linear layers, matrix products and attention: sums along a whole axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.einsum import einsum_cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.norm import SOFTMAX_FLOPS
from convsmith.network.families.products import (
    affine_grid_cost,
    bilinear_cost,
    chain_cost,
    inner_cost,
    outer_cost,
    summed_products_cost,
    tbc_cost,
    tbc_reads,
    tensordot_cost,
    vectors_cost,
)
from convsmith.network.families.rules import (
    all_or_unknown,
    axes_in_place,
    axes_nowhere,
    everything,
    mixed_channels,
    serve,
    unmoved,
)
from convsmith.network.shapes import Axes, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


# Linear layers


def _linear_cost(layer: Layer) -> Cost:
    macs = layer.numel * layer.operands[0].shape[-1]
    biased = len(layer.operands) == 3
    return Cost(macs, 2 * macs + layer.numel * biased)


def _addmm_cost(layer: Layer) -> Cost:
    macs = layer.numel * layer.operands[1].shape[-1]
    return Cost(macs, 2 * macs + layer.numel)


def _rows(layer: Layer, box: Box, number: int) -> Reads:
    """Whole rows of one operand; weights and biases that are computed are read whole."""
    for other, operand in enumerate(layer.operands):
        if other == number:
            yield other, (*box[:-1], Positions.range(0, operand.shape[-1]))
        else:
            yield other, whole(operand.shape)


def _linear_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    return _rows(layer, box, 0)


def _addmm_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    return _rows(layer, box, 1)


def _linear_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    axes = axes_in_place(layer, sources)
    return (*axes[:-1], None) if axes else axes


def _linear_carry(passage: Passage) -> Positions | None:
    return all_or_unknown(passage) if passage.in_place else mixed_channels(passage)


# Matrix products


def _product_cost(layer: Layer) -> Cost:
    macs = layer.numel * layer.operands[0].shape[-1]
    return Cost(macs, 2 * macs)


def _added_product_cost(layer: Layer) -> Cost:
    macs = layer.numel * layer.operands[1].shape[-1]
    return Cost(macs, 2 * macs + layer.numel)


def _product_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    return _rows_and_columns(layer, box, result, bounded, 0)


def _added_product_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 0, whole(layer.operands[0].shape)
    yield from _rows_and_columns(layer, box, result, bounded, 1)


def _rows_and_columns(layer: Layer, box: Box, result: int, bounded: bool, left: int) -> Reads:
    """Rows of the left and columns of the right, along the whole axis that is summed."""
    shapes = [operand.shape for operand in layer.operands[left : left + 2]]
    if len(box) < 2 or min(map(len, shapes)) < 2:
        yield from everything(layer, box, result, bounded)
        return
    summed = Positions.range(0, shapes[0][-1])
    for number, (shape, last) in enumerate(
        zip(shapes, ((box[-2], summed), (summed, box[-1])), strict=True), start=left
    ):
        batch = box[len(box) - len(shape) : -2]
        yield number, (*(serve(p, n) for p, n in zip(batch, shape, strict=False)), *last)


# Attention


def _attention_cost(layer: Layer) -> Cost:
    """q·kᵀ, the scale, a mask if there is one, softmax, and the sum of v.

    A causal mask saves nothing that is counted.
    """
    query, key, value = (operand.shape for operand in layer.operands[:3])
    pairs = prod(query[:-1]) * key[-2]
    macs = pairs * (query[-1] + value[-1])
    masked = len(layer.operands) > 3
    return Cost(macs, 2 * macs + pairs * (1 + masked + SOFTMAX_FLOPS))


def _heads_cost(layer: Layer) -> Cost:
    """Multi-head attention in one call: three projections, attention, and one of its result."""
    batch, queries, width = layer.operands[0].shape
    keys, heads = layer.operands[1].shape[1], layer.operation.settings["num_head"]
    pairs = batch * queries * keys
    projected = batch * (2 * queries + 2 * keys) * width
    macs = projected * width + 2 * pairs * width
    return Cost(macs, 2 * macs + projected + pairs * heads * (1 + SOFTMAX_FLOPS))


def _attention_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    query, key, value = (operand.shape for operand in layer.operands[:3])
    heads = box[:-2]
    yield 0, (*heads, box[-2], Positions.range(0, query[-1]))
    yield 1, (*(serve(p, n) for p, n in zip(heads, key, strict=False)), *whole(key[-2:]))
    keys = Positions.range(0, value[-2])
    yield 2, (*(serve(p, n) for p, n in zip(heads, value, strict=False)), keys, box[-1])


FAMILIES = (
    Family(
        kind="linear",
        about="weights along the last dimension, and a bias",
        names="linear addmm",
        traits=Trait.POINTWISE | Trait.MIXES_CHANNELS,
        cost=_linear_cost,
        reads=_linear_reads,
        axes=_linear_axes,
        carry=_linear_carry,
        step=unmoved,
        title="linear layers",
    ).but("addmm", cost=_addmm_cost, reads=_addmm_reads),
    Family(
        kind="matmul",
        about="a product of matrices, of a batch of them, or of tensors along some dimensions",
        names="""addbmm addmv addr affine_grid_generator baddbmm bilinear bmm chain_matmul conv_tbc
            dot einsum ger inner linalg_matmul linalg_multi_dot matmul mm mv outer tensordot
            vdot""",
        traits=Trait.JOINS_AXIS,
        cost=_product_cost,
        reads=_product_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
        title="matrix products",
    )
    .but("baddbmm", cost=_added_product_cost, reads=_added_product_reads)
    .but("dot mv vdot", adds=Trait.VECTOR, reads=everything, axes=axes_nowhere)
    .but("einsum", cost=einsum_cost, reads=everything)
    .but("tensordot", cost=tensordot_cost, reads=everything, axes=axes_nowhere)
    .but("inner", cost=inner_cost, reads=everything, axes=axes_nowhere)
    .but("addr ger outer", cost=outer_cost, reads=everything, axes=axes_nowhere)
    .but("addmv", adds=Trait.VECTOR, cost=vectors_cost, reads=everything, axes=axes_nowhere)
    .but("addbmm", cost=summed_products_cost, reads=everything, axes=axes_nowhere)
    .but("chain_matmul linalg_multi_dot", cost=chain_cost, reads=everything, axes=axes_nowhere)
    .but("affine_grid_generator", cost=affine_grid_cost, reads=everything, axes=axes_nowhere)
    .but("bilinear", adds=Trait.FUSED, cost=bilinear_cost, reads=everything, axes=axes_nowhere)
    .but("conv_tbc", adds=Trait.FUSED, cost=tbc_cost, reads=tbc_reads, axes=axes_nowhere),
    Family(
        kind="attention",
        about="scaled dot-product attention in one call",
        names="_native_multi_head_attention scaled_dot_product_attention",
        traits=Trait.JOINS_AXIS | Trait.FUSED,
        cost=_attention_cost,
        reads=_attention_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
        title="attention",
    ).but("_native_multi_head_attention", cost=_heads_cost, reads=everything),
)
