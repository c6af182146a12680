"""Rearrangements of a tensor, walked backwards: which values of the input a set of outputs are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

from convsmith.arithmetic import Box, Positions

__all__ = [
    "Axes", "Shape", "factor_groups", "flattened", "per_axis", "reshaped",
    "unflattened", "whole",
]  # fmt: skip

Shape = tuple[int, ...]
Axes = tuple[int | None, ...]
"""For each dimension of a tensor the spatial axis of the input that it still runs along."""


def whole(shape: Iterable[int]) -> Box:
    """Every position of a tensor."""
    return tuple(Positions.range(0, length) for length in shape)


def factor_groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The dimensions of two shapes of one tensor, in the smallest groups of equal size.

    Dimensions of length 1 are in no group: they hold one position wherever they are.

    >>> factor_groups((2, 3, 4, 5), (6, 4, 1, 5))
    [([0, 1], [0]), ([2], [1]), ([3], [3])]
    >>> factor_groups((0, 8, 7), (0, 7))
    [([0, 1], [0]), ([2], [1])]
    """
    left = [d for d, length in enumerate(before) if length != 1]
    right = [d for d, length in enumerate(after) if length != 1]
    groups: list[tuple[list[int], list[int]]] = []
    if 0 in before:
        # Any sizes agree before the last length of 0, so what follows it is told apart alone.
        while before[left[-1]] == after[right[-1]] != 0:
            groups.insert(0, ([left.pop()], [right.pop()]))
        return [(left, right), *groups]
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := prod(before[d] for d in ours)) != (b := prod(after[d] for d in theirs)):
            (ours if a < b else theirs).append((left if a < b else right).pop(0))
        groups.append((ours, theirs))
    return groups


def reshaped(box: Box, before: Shape, after: Shape) -> list[Box]:
    """The inputs of a reshape from `before` to `after` that a product of outputs are.

    >>> corner = (Positions.of([0]), Positions.of([5]))
    >>> reshaped(corner, (1, 2, 3), (1, 6))
    [(Positions({0}), Positions({1}), Positions({2}))]
    """
    pieces: list[tuple[list[int], list[Box]]] = []
    for ours, theirs in factor_groups(before, after):
        if len(ours) == len(theirs) == 1:
            pieces.append((ours, [(box[theirs[0]],)]))
            continue
        flat = flattened([box[d] for d in theirs], [after[d] for d in theirs])
        pieces.append((ours, list(unflattened(flat, [before[d] for d in ours]))))
    found = []
    for choice in product(*(options for _, options in pieces)):
        axes = [Positions.of([0])] * len(before)
        for (dims, _), part in zip(pieces, choice, strict=True):
            for d, positions in zip(dims, part, strict=True):
                axes[d] = positions
        found.append(tuple(axes))
    return found


def flattened(axes: Sequence[Positions], lengths: Sequence[int]) -> Positions:
    """The row-major numbers of a product of positions."""
    if (first := axes[0].start) < 0:  # beyond the border of a map
        moved = flattened([axes[0].shift(-first), *axes[1:]], lengths)
        return moved.shift(first * prod(lengths[1:]))
    flat = axes[-1]
    size = lengths[-1]
    for positions, length in zip(reversed(axes[:-1]), reversed(lengths[:-1]), strict=True):
        whole_row = len(flat) == size
        if whole_row and positions == Positions.range(0, length):
            flat = Positions.range(0, length * size)
        else:
            bits = 0
            for index in positions:
                bits |= (flat.bits << flat.offset) << (index * size)
            flat = Positions(bits)
        size *= length
    return flat


def unflattened(flat: Positions, lengths: Sequence[int]) -> Iterator[Box]:
    """Row-major numbers as products: rows that hold the same columns together."""
    if len(lengths) == 1:
        yield (flat,)
        return
    size = prod(lengths[1:])
    if len(flat) == size * lengths[0] and flat.start == 0:
        yield whole(lengths)
        return
    rows: dict[Positions, list[int]] = {}
    for row in range(flat.start // size, -(-flat.stop // size)):
        inside = flat.clip(row * size, (row + 1) * size).shift(-row * size)
        if inside:
            rows.setdefault(inside, []).append(row)
    for inside, members in rows.items():
        for rest in unflattened(inside, lengths[1:]):
            yield (Positions.of(members), *rest)


def per_axis(value: int | Sequence[int], dims: int) -> Shape:
    """One value per axis; as in PyTorch's schemas, a single one stands for every axis.

    >>> per_axis(2, 3), per_axis([1], 2), per_axis([1, 2], 2)
    ((2, 2, 2), (1, 1), (1, 2))
    """
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * dims if len(values) == 1 else values)
