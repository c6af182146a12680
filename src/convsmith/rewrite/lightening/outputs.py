"""What of a network's outputs can be compared with another's."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["compared"]


def compared(outputs: Any) -> list[Tensor]:
    """The floating-point tensors, in order: not indices, masks and counts, which have no slope.

    >>> import torch
    >>> [tuple(x.shape) for x in compared({"maps": [torch.zeros(2, 3)], "best": torch.arange(2)})]
    [(2, 3)]
    """
    return [x for x in tree_leaves(outputs) if isinstance(x, Tensor) and x.is_floating_point()]
