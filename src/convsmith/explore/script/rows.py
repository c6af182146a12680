"""What a line gives, kept for showing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convsmith.explore.script.values import Module, Refusal, Shape, Tensor

__all__ = ["Row", "row_of"]


@dataclass(frozen=True)
class Row:
    """A line and what it gives.

    Attributes:
        number: of the line, from 1; 0 for a layer within a series.
        line: the code.
        shape: of the tensor that it gives, else None.
        weight: the shape of the weight of the layer that it makes, else None.
        value: a number or a tuple that it gives, as code; "" where there is none.
        refusal: why PyTorch refuses it, or why it cannot be read.
    """

    number: int
    line: str
    shape: Shape | None = None
    weight: Shape | None = None
    value: str = ""
    refusal: Refusal | None = None


def row_of(number: int, line: str, value: Any, refusal: Refusal | None = None) -> Row:
    """The row of a line."""
    if refusal or value is None:
        return Row(number, line, refusal=refusal)
    if isinstance(value, Tensor):
        return Row(number, line, shape=value.shape)
    if isinstance(value, Module):
        return Row(number, line, weight=value.weight)
    plain = isinstance(value, (bool, int, float)) or (
        isinstance(value, (tuple, list)) and all(isinstance(each, int) for each in value)
    )
    return Row(number, line, value=str(value) if plain else "")
