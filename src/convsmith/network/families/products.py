"""Products of tensors that are not plain ones of two matrices: what they cost."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions, Window
from convsmith.network.cost import Cost
from convsmith.network.families.family import Reads
from convsmith.network.shapes import whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = [
    "affine_grid_cost",
    "bilinear_cost",
    "chain_cost",
    "inner_cost",
    "outer_cost",
    "summed_products_cost",
    "tbc_cost",
    "tbc_reads",
    "tensordot_cost",
    "vectors_cost",
]


def vectors_cost(layer: Layer) -> Cost:
    """`addmv`: every value of the matrix once, and what is added."""
    macs = layer.operands[1].numel
    return Cost(macs, 2 * macs + layer.numel)


def summed_products_cost(layer: Layer) -> Cost:
    """`addbmm`: the products of a batch, summed over it, and what is added."""
    macs = layer.operands[1].numel * layer.shape[-1]
    return Cost(macs, 2 * macs + layer.numel)


def outer_cost(layer: Layer) -> Cost:
    """Every pair of values is multiplied once; `addr` adds the product to a matrix."""
    return Cost(0, layer.numel * (2 if layer.operation.name == "addr" else 1))


def inner_cost(layer: Layer) -> Cost:
    """Sums along the last dimension of both; a number scales."""
    shapes = [operand.shape for operand in layer.operands]
    if not all(shapes):
        return Cost(0, layer.numel)
    macs = layer.numel * shapes[0][-1]
    return Cost(macs, 2 * macs)


def tensordot_cost(layer: Layer) -> Cost:
    """Every value of the result is a sum along the dimensions that are contracted."""
    settings = layer.operation.settings
    left, right = (operand.shape for operand in layer.operands)
    pairs = list(zip(settings["dims_self"], settings["dims_other"], strict=True))
    if not pairs:
        return Cost(0, layer.numel)
    macs = layer.numel * prod(max(left[mine], right[other]) for mine, other in pairs)
    return Cost(macs, 2 * macs)


def chain_cost(layer: Layer) -> Cost:
    """The cheapest order of a chain of matrices, which is the one that PyTorch takes."""
    first, *rest = (operand.shape for operand in layer.operands)
    # A vector at an end is a row, or a column.
    sizes = [1, *first] if len(first) == 1 else [*first]
    sizes += [shape[-1] if len(shape) == 2 else 1 for shape in rest]
    count = len(sizes) - 1
    best: dict[tuple[int, int], int] = {(i, i): 0 for i in range(count)}
    for length in range(1, count):
        for i in range(count - length):
            last = i + length
            best[i, last] = min(
                best[i, k] + best[k + 1, last] + sizes[i] * sizes[k + 1] * sizes[last + 1]
                for k in range(i, last)
            )
    macs = best[0, count - 1]
    return Cost(macs, 2 * macs)


def bilinear_cost(layer: Layer) -> Cost:
    """Per result a product of the first input with a matrix, and of that with the second."""
    inner, outer = (operand.shape[-1] for operand in layer.operands[:2])
    macs = layer.numel * (inner * outer + outer)
    return Cost(macs, 2 * macs + layer.numel * (len(layer.operands) > 3))


def affine_grid_cost(layer: Layer) -> Cost:
    """A matrix times each position, with a one behind its coordinates."""
    macs = layer.numel * (layer.shape[-1] + 1)
    return Cost(macs, 2 * macs)


def tbc_cost(layer: Layer) -> Cost:
    """`conv_tbc`, with time first and channels last: a matrix per tap, and a bias."""
    macs = layer.numel * prod(layer.operands[1].shape[:2])
    return Cost(macs, 2 * macs + layer.numel)


def tbc_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The taps along time, of every channel, and the weights whole."""
    image, weight, bias = (operand.shape for operand in layer.operands)
    pad = layer.operation.settings["pad"]
    steps = Window(weight[0], padding=(pad, pad)).reads(box[0])
    yield 0, (steps, box[1], Positions.range(0, image[-1]))
    yield 1, whole(weight)
    yield 2, whole(bias)
