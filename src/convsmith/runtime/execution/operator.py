"""A region as an operation of PyTorch, so that what holds it can be exported and compiled again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from convsmith.errors import ConvsmithError

__all__ = ["Computes", "call", "number_of"]


class Computes(Protocol):
    """What a region can do, as far as this operation is concerned."""

    def compute(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors with values."""

    def fake(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, for tensors without values."""


_REGIONS: WeakValueDictionary[int, Computes] = WeakValueDictionary()
_NUMBERS = count(1)


def number_of(region: Computes) -> int:
    """Enter a region; a graph names it by this number, in this process alone."""
    number = next(_NUMBERS)
    _REGIONS[number] = region
    return number


def call(tensors: Sequence[Tensor], number: int) -> list[Tensor]:
    """Run a region through PyTorch's dispatcher."""
    outputs: list[Tensor] = torch.ops.convsmith.region(list(tensors), number)
    return outputs


@torch.library.custom_op("convsmith::region", mutates_args=())
def _region(tensors: list[Tensor], number: int) -> list[Tensor]:
    return _find(number).compute(tensors)


@_region.register_fake
def _(tensors: list[Tensor], number: int) -> list[Tensor]:
    return _find(number).fake(tensors)


def _find(number: int) -> Computes:
    region = _REGIONS.get(number)
    if region is None:
        raise ConvsmithError(f"region {number} is gone: keep what `compile` gave, in its process")
    return region
