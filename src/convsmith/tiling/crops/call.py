"""One operation asked for a part of its result, and what may be said of that without values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_map

from convsmith.network import Layer
from convsmith.tiling.patch import Patch
from convsmith.tiling.spans import Spans, lengths

__all__ = ["Axes", "Call", "Crop", "Question", "never"]

Axes = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Question:
    """A layer with the dimensions of its operands and result that a tile cuts.

    Attributes:
        layer: in a network traced at the size of the whole image.
        operands: for each operand the axis of the image along each dimension, None where all
            positions are always there.
        result: the same for its result.
        used: the results that are used, where it has several.
    """

    layer: Layer
    operands: tuple[Axes, ...]
    result: Axes
    used: tuple[int, ...] = (0,)

    @property
    def is_cut(self) -> bool:
        """Whether a tile cuts anything that it reads or gives."""
        return any(axis is not None for axes in (*self.operands, self.result) for axis in axes)


@dataclass(frozen=True, eq=False)
class Call:
    """One operation, asked for a part of one of its results.

    Attributes:
        layer: in a network traced at the size of the whole image.
        node: of the exported program.
        operands: its tensors in order, each cut to what this call reads; None where it reads
            none of the values.
        spans: the part of the result.
        result: which result, where it has several.
    """

    layer: Layer
    node: Node
    operands: Sequence[Patch | None]
    spans: Spans
    result: int = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The arguments that are not tensors."""
        return self.layer.operation.settings

    @property
    def first(self) -> Patch:
        """The first operand."""
        patch = self.operands[0]
        assert patch is not None
        return patch

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of the part."""
        return lengths(self.spans)

    def tensor(self, number: int) -> Tensor | None:
        """The values of an operand, if the operation has one of that number."""
        if number >= len(self.operands):
            return None
        patch = self.operands[number]
        return None if patch is None else patch.tensor

    def run(self) -> Tensor:
        """Call the operation itself on the parts of its operands."""
        numbers = iter(range(len(self.operands)))

        def value(argument: Any) -> Any:
            if not isinstance(argument, Node):
                return argument
            number = next(numbers)
            tensor = self.tensor(number)
            if tensor is None:  # only its type is looked at
                kind = self.layer.operands[number].dtype
                return torch.empty(0, dtype=getattr(torch, kind))
            return tensor

        args, kwargs = tree_map(
            value, (self.node.args, self.node.kwargs), is_leaf=lambda leaf: isinstance(leaf, Node)
        )
        target: Any = self.node.target
        results = target(*args, **kwargs)
        picked: Tensor = results[self.result] if isinstance(results, (tuple, list)) else results
        return picked


def never(question: Question) -> str:
    """No reason to refuse."""
    return ""


@dataclass(frozen=True)
class Crop:
    """What one kind of operation does when a tile asks for a part of its result.

    Attributes:
        compute: the part, from the parts of its operands.
        refuse: why a part cannot be computed from parts, or ''.
        reads: the parts of its operands that a part of its result needs, where that is not what
            the network says: `(call without operands) -> {operand: spans}`.
        padded: whether it may be asked for what lies wholly in the padding.
        drops: whether it reads one position, or none, of an axis that its result has no more.
        copies: how many times what it reads it may hold besides, padded or reordered.
        swept: whether statistics from a sweep over the whole image can stand in for what it
            reads, where `refuse` gives a reason.
    """

    compute: Callable[[Call], Tensor]
    refuse: Callable[[Question], str] = never
    reads: Callable[[Layer, Spans], dict[int, Spans]] | None = None
    padded: bool = False
    drops: bool = False
    copies: int = 0
    swept: Callable[[Question], bool] = lambda question: False
