"""What of a network's outputs can be compared with another's, and how far both lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["apart", "compared"]


def compared(outputs: Any) -> list[Tensor]:
    """The floating-point tensors, in order: not indices, masks and counts, which have no slope.

    >>> import torch
    >>> [tuple(x.shape) for x in compared({"maps": [torch.zeros(2, 3)], "best": torch.arange(2)})]
    [(2, 3)]
    """
    return [x for x in tree_leaves(outputs) if isinstance(x, Tensor) and x.is_floating_point()]


def apart(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> tuple[float, float]:
    """The sum of squares by which outputs differ, and how much theirs vary over the images."""
    moved = variance = 0.0
    for a, b in zip(ours, theirs, strict=True):
        expected = b.double()  # so that what never varies has no variance, not that of a rounding
        moved += float((a.double() - expected).square().sum())
        variance += float((expected - expected.mean(0)).square().sum())
    return moved, variance
