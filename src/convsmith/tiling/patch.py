"""A patch: the part of a tensor that is in memory, and where it lies in the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.tiling.spans import Spans, slices

__all__ = ["Patch", "fitted", "gathered"]


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a tensor.

    Attributes:
        tensor: its values.
        spans: which positions of the whole tensor they are.
        shape: of the whole tensor.
    """

    tensor: Tensor
    spans: Spans
    shape: tuple[int, ...]

    def narrow(self, spans: Spans) -> Patch:
        """The part at `spans`, a view; all of them must be in the patch."""
        if spans == self.spans:
            return self
        cut = slices(spans, [start for start, _ in self.spans])
        return Patch(self.tensor[cut], spans, self.shape)


def fitted(patch: Patch, needed: Spans, value: float = 0.0) -> Tensor:
    """The values at `needed`, which may lie outside the whole tensor: those are `value`.

    >>> line = Patch(torch.tensor([1.0, 2.0, 3.0]), ((0, 3),), (3,))
    >>> fitted(line, ((-1, 2),))
    tensor([0., 1., 2.])
    """
    inside, sides = [], []
    for (have_start, have_stop), (start, stop) in zip(patch.spans, needed, strict=True):
        first, last = max(have_start, start), min(have_stop, stop)
        if first >= last:  # every position lies in the padding
            first = last = have_start
            sides.append((stop - start, 0))
        else:
            sides.append((first - start, stop - last))
        inside.append((first, last))
    tensor = patch.narrow(tuple(inside)).tensor
    if not any(map(any, sides)):
        return tensor
    return F.pad(tensor, [side for pair in reversed(sides) for side in pair], value=value)


def gathered(tensor: Tensor, dim: int, indices: Sequence[int]) -> Tensor:
    """The positions `indices` along a dimension, in that order."""
    first = indices[0]
    if list(indices) == list(range(first, first + len(indices))):
        return tensor.narrow(dim, first, len(indices))
    return tensor.index_select(dim, torch.tensor(list(indices), device=tensor.device))
