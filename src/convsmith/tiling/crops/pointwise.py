"""Operations that treat each position by itself, and when those across channels do."""

from __future__ import annotations

from torch import Tensor

from convsmith.tiling.crops.call import Axes, Call, Question

__all__ = [
    "activation_refusal", "batch_norm_refusal", "identity_refusal", "linear_refusal",
    "matmul_refusal", "run", "softmax_refusal",
]  # fmt: skip


def run(call: Call) -> Tensor:
    """The operation itself, on the parts that it reads."""
    return call.run()


def _axis(axes: Axes, dim: int) -> int | None:
    return axes[dim % len(axes)] if axes else None


def activation_refusal(question: Question) -> str:
    """A gated unit may split the map itself."""
    layer = question.layer
    if layer.operation.name == "glu":
        dim = layer.operation.settings.get("dim", -1)
        if _axis(question.operands[0], dim) is not None:
            return "it halves an axis of the map"
    return ""


def identity_refusal(question: Question) -> str:
    """A copy into another tensor takes the values of its second operand."""
    return "it copies into another tensor" if question.layer.operation.name == "copy" else ""


def batch_norm_refusal(question: Question) -> str:
    """Without running statistics it takes those of the batch."""
    settings = question.layer.operation.settings
    computed = settings.get("training") or len(question.operands) < 3
    return "it takes the statistics of the batch: it has no running ones" if computed else ""


def softmax_refusal(question: Question) -> str:
    """A softmax over an axis of the map reads all of it."""
    dim = question.layer.operation.settings.get("dim", -1)
    if _axis(question.operands[0], dim) is not None:
        return "its softmax runs over an axis of the map"
    return ""


def linear_refusal(question: Question) -> str:
    """A linear layer may mix channels, not positions."""
    number = 1 if question.layer.operation.name == "addmm" else 0
    for other, axes in enumerate(question.operands):
        if other != number and any(axis is not None for axis in axes):
            return "its weight is a part of the map"
    if _axis(question.operands[number], -1) is not None:
        return "it mixes all positions of an axis of the map"
    return ""


def matmul_refusal(question: Question) -> str:
    """A product of matrices may mix channels of the left one, not positions."""
    if question.layer.operation.name not in ("bmm", "matmul", "mm"):
        return "it mixes positions of the map"
    left, right = question.operands[:2]
    if _axis(left, -1) is not None or any(axis is not None for axis in right):
        return "it mixes all positions of an axis of the map"
    return ""
