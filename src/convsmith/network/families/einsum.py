"""What an einsum costs: operand by operand, as PyTorch contracts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from convsmith.network.cost import Cost

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["contraction", "einsum_cost"]

Lengths = Mapping[str, int]
"""The length of a tensor along each index, in order."""


def einsum_cost(layer: Layer) -> Cost:
    """The contraction in the order that the graph records, else from left to right.

    With two operands there is one order only. With more, PyTorch asks opt_einsum for the cheapest
    order if it is installed, and goes from left to right if not: without a record, the latter is a
    bound.
    """
    settings = layer.operation.settings
    equation, path = str(settings["equation"]), settings.get("path")
    macs, flops = contraction(equation, [operand.shape for operand in layer.operands], path)
    if len(layer.operands) < 3 or path:
        return Cost(macs, flops)
    return Cost(macs, flops, "upper bound", f"einsum {equation!r} may contract in another order")


def contraction(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] | None = None
) -> tuple[int, int]:
    """The multiply-adds and the floating-point operations of an einsum.

    Indices that a pair of operands shares and that nothing else needs are summed by multiply-adds;
    one that only a single operand has is summed beforehand, by additions. A pair that sums nothing
    is multiplied value by value, without multiply-adds.

    Args:
        equation: as `torch.einsum` takes it, ellipses included.
        shapes: of the operands, in order.
        path: which two operands are contracted, pair after pair, as opt_einsum numbers them; from
            left to right unless given.

    >>> contraction("bij,bjk->bik", [(4, 5, 8), (1, 8, 6)])
    (960, 1920)
    >>> contraction("bchw,bc->bchw", [(1, 4, 8, 8), (1, 4)])
    (0, 256)
    >>> contraction("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], [1, 2, 0, 1])
    (90, 180)
    """
    operands, kept = _read(equation.replace(" ", ""), shapes)
    macs = flops = 0
    for first, second in _pairs(len(operands), path):
        right, left = operands.pop(max(first, second)), operands.pop(min(first, second))
        needed = kept.union(*operands)
        left, sums = _summed(left, needed | right.keys())
        right, more = _summed(right, needed | left.keys())
        whole = {index: max(left.get(index, 1), right.get(index, 1)) for index in {**left, **right}}
        products = prod(whole.values())
        contracts = not whole.keys() <= needed
        macs += products * contracts
        flops += sums + more + products * (1 + contracts)
        operands.append({index: n for index, n in whole.items() if index in needed})
    (result,) = operands
    _, sums = _summed(result, kept)
    return macs, flops + sums


def _pairs(count: int, path: Sequence[int] | None) -> Iterator[tuple[int, int]]:
    """The two operands of each step; what they give goes to the end, or, without a path, first."""
    for step in range(count - 1):
        if path:
            yield path[2 * step], path[2 * step + 1]
        else:
            yield (0, 1) if step == 0 else (count - step - 1, 0)


def _summed(operand: Lengths, needed: set[str]) -> tuple[Lengths, int]:
    """An operand without the indices that nobody needs, and the additions of their sums."""
    left = {index: length for index, length in operand.items() if index in needed}
    return left, prod(operand.values()) if len(left) < len(operand) else 0


def _read(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[Lengths], set[str]]:
    """The operands by their indices, and the indices of the result.

    The dimensions of an ellipsis are aligned at the last one: `.0` is that.
    """
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    operands = [dict(_lengths(term, shape)) for term, shape in zip(terms, shapes, strict=True)]
    hidden = {index for operand in operands for index in operand if index[0] == "."}
    if arrow:
        letters = set(output.replace(".", ""))
        return list(operands), letters | (hidden if "." in output else set())
    letters = {letter for letter in inputs if letter.isalpha() and inputs.count(letter) == 1}
    return list(operands), letters | hidden


def _lengths(term: str, shape: Sequence[int]) -> Iterator[tuple[str, int]]:
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise ValueError(f"{term!r} does not name {len(shape)} dimensions")
    names = [*before, *(f".{hidden - 1 - place}" for place in range(hidden)), *after]
    # An index that stands twice in a term is a diagonal.
    yield from zip(names, shape, strict=True)
