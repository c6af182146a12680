"""Sizes that a graph computes with: plain numbers in Python, so that `torch.export` can trace them.

A value of a graph is a tensor, or a `Host`: a whole number, or a list of them, that may be symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Host", "as_tensor", "numbers", "tensor_of"]


@dataclass(frozen=True)
class Host:
    """Whole numbers on the Python side.

    Attributes:
        values: the numbers.
        scalar: whether it has no axis; else it has one.
    """

    values: tuple[Any, ...]
    scalar: bool = False

    def like(self, values: Sequence[Any]) -> Host:
        """Other numbers in the same form."""
        return Host(tuple(values), self.scalar)


def as_tensor(value: Any, like: Tensor | None = None) -> Any:
    """A tensor in the place of a `Host`; the device is that of another tensor."""
    if not isinstance(value, Host):
        return value
    device = None if like is None else like.device
    made = [torch.scalar_tensor(each, dtype=torch.int64, device=device) for each in value.values]
    return made[0] if value.scalar else torch.stack(made)


def tensor_of(value: Any) -> Tensor:
    """A tensor in the place of any value.

    One that is a tensor already is left alone: `torch.as_tensor` would enter its type into a
    captured graph, where no kernel then computes it and float64 becomes float32.
    """
    value = as_tensor(value)
    return value if isinstance(value, Tensor) else torch.as_tensor(value)


def numbers(value: Any) -> list[Any]:
    """The whole numbers of a value; those of a tensor have to be constants."""
    if isinstance(value, Host):
        return list(value.values)
    if isinstance(value, Tensor):
        return [int(each) for each in value.reshape(-1).tolist()]
    return [value]
