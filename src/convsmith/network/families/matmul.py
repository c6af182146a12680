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
    axes_kept,
    axes_nowhere,
    axis_of,
    blocks,
    everything,
    mixed_channels,
    serve,
    served,
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


def _linear_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Whole rows, and the weights and bias of the outputs that are asked for."""
    yield 0, (*box[:-1], Positions.range(0, layer.operands[0].shape[-1]))
    for number in range(1, len(layer.operands)):
        shape = layer.operands[number].shape
        yield number, (box[-1], *whole(shape[1:])) if len(box) and shape else whole(shape)


def _addmm_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 1, (*box[:-1], Positions.range(0, layer.operands[1].shape[-1]))
    yield 0, served(box, layer.operands[0].shape)
    if len(layer.operands) > 2:
        yield 2, (Positions.range(0, layer.operands[2].shape[0]), box[-1])


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
    yield 0, served(box, layer.operands[0].shape)
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


def _product_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """The axes of the left's rows and of the right's columns."""
    known = dict(zip(layer.places, sources, strict=True))
    dims, left = len(layer.shape), len(layer.operands) - 2
    met: list[list[int | None]] = [[] for _ in range(dims)]
    if dims < 2 or _vectors(layer):
        return axes_nowhere(layer, sources)
    for number, kept in ((left, -2), (left + 1, -1)):
        mine = known.get(number, ())
        for place in range(-len(mine), 0):
            if place < -2 or place == kept:
                met[place].append(mine[place])
    return axes_kept([axis_of(axes) for axes in met])


def _product_bounds(layer: Layer) -> bool:
    """Whether an operand is a vector, or a constant that may hold zeros, such as a triangle."""
    return _vectors(layer) or _constant(layer)


def _constant(layer: Layer) -> bool:
    trained = any(not parameter.buffer for parameter in layer.parameters)
    return len(layer.places) < len(layer.operands) and not trained


def _vectors(layer: Layer) -> bool:
    """Whether an operand is a vector."""
    return min(len(operand.shape) for operand in layer.operands[-2:]) < 2


# Einsum


def _terms(layer: Layer) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result; None where they are not all written out."""
    equation = str(layer.operation.settings["equation"]).replace(" ", "")
    before, arrow, after = equation.partition("->")
    terms = before.split(",")
    if "." in equation or len(terms) != len(layer.operands):
        return None
    if not arrow:
        after = "".join(sorted(x for x in set(before) - {","} if before.count(x) == 1))
    return terms, after


def _einsum_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Along a letter of the result what is asked for, along the others everything."""
    letters = _terms(layer)
    if letters is None:
        yield from everything(layer, box, result, bounded)
        return
    terms, after = letters
    places = dict(zip(after, box, strict=True))
    for number, (term, operand) in enumerate(zip(terms, layer.operands, strict=True)):
        yield (
            number,
            tuple(
                serve(places[x], n) if x in places else Positions.range(0, n)
                for x, n in zip(term, operand.shape, strict=True)
            ),
        )


def _einsum_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    letters = _terms(layer)
    if letters is None:
        return axes_nowhere(layer, sources)
    terms, after = letters
    met: dict[str, list[int | None]] = {letter: [] for letter in after}
    for number, axes in zip(layer.places, sources, strict=True):
        for letter, axis in zip(terms[number], axes, strict=True):
            met.setdefault(letter, []).append(axis)
    return axes_kept([axis_of(met[letter]) for letter in after])


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
    # A causal mask lets a position see those up to its own; without borders, they have no first.
    causal = bounded and layer.operation.settings.get("is_causal")
    seen = min(key[-2], box[-2].stop) if causal else key[-2]
    keys, grouped = Positions.range(0, seen), layer.operation.settings.get("enable_gqa")
    for number, shape, last in ((1, key, Positions.range(0, key[-1])), (2, value, box[-1])):
        batch = [serve(p, n) for p, n in zip(heads, shape, strict=False)]
        if grouped and len(batch) > 1:
            batch[-1] = blocks(heads[-1], max(1, query[-3] // shape[-3]))
        yield number, (*batch, keys, last)
    for number in range(3, len(layer.operands)):
        yield number, served((*heads, box[-2], keys), layer.operands[number].shape)


def _masked(layer: Layer) -> bool:
    """Whether a mask may hide what is read; a bias that was trained, of relative places, adds."""
    return len(layer.operands) > 3 and (3 in layer.places or _constant(layer))


def _attention_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Those of the query."""
    if 0 not in layer.places or len(sources[0]) != len(layer.shape):
        return axes_nowhere(layer, sources)
    return (*sources[0][:-1], None)


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
        bounds=_product_bounds,
        axes=_product_axes,
        carry=all_or_unknown,
        step=unmoved,
        title="matrix products",
    )
    .but("baddbmm", cost=_added_product_cost, reads=_added_product_reads)
    .but("dot mv vdot", adds=Trait.VECTOR, reads=everything, axes=axes_nowhere)
    .but(
        "einsum",
        cost=einsum_cost,
        reads=_einsum_reads,
        bounds=lambda layer: _terms(layer) is None or _constant(layer),
        axes=_einsum_axes,
    )
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
        bounds=_masked,
        axes=_attention_axes,
        carry=all_or_unknown,
        step=unmoved,
        title="attention",
    ).but("_native_multi_head_attention", cost=_heads_cost, reads=everything),
)
