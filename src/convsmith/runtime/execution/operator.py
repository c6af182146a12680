"""A region as an operation of PyTorch, so that what holds it can be exported and compiled again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.runtime.execution.region import Region

__all__ = ["call", "number_of"]

_REGIONS: WeakValueDictionary[int, Region] = WeakValueDictionary()
_NUMBERS = count(1)


def number_of(region: Region) -> int:
    """Enter a region; a graph names it by this number, in this process alone."""
    number = next(_NUMBERS)
    _REGIONS[number] = region
    return number


def call(tensors: Sequence[Tensor], number: int) -> list[Tensor]:
    """Run a region through PyTorch's dispatcher."""
    found: list[Tensor] = torch.ops.convsmith.region(list(tensors), number)
    return found


@torch.library.custom_op("convsmith::region", mutates_args=())
def _region(tensors: list[Tensor], number: int) -> list[Tensor]:
    return _find(number).compute(tensors)


@_region.register_fake
def _(tensors: list[Tensor], number: int) -> list[Tensor]:
    return _find(number).fake(tensors)


def _find(number: int) -> Region:
    region = _REGIONS.get(number)
    if region is None:
        raise ConvsmithError(f"region {number} is gone: keep what `compile` gave, in its process")
    return region
