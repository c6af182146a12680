"""The activations that a stage computes, by the names that PyTorch gives them.

`arithmetic.js` has the same table; the tests compare both with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, tanh
from typing import Any

__all__ = ["ACTIVATIONS", "activated"]


def _sigmoid(value: float) -> float:
    # Far below zero the other form would overflow.
    return 1 / (1 + exp(-value)) if value > -500 else 0.0


ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda value: max(0, value),
    "relu6": lambda value: min(6, max(0, value)),
    "hardswish": lambda value: value * min(6, max(0, value + 3)) / 6,
    "sigmoid": _sigmoid,
    "silu": lambda value: value * _sigmoid(value),
    "tanh": tanh,
}


def activated(name: str | None, values: Any) -> Any:
    """Nested lists of numbers, each passed through an activation; as they are without one."""
    if name is None:
        return values
    if isinstance(values, list):
        return [activated(name, each) for each in values]
    return ACTIVATIONS[name](values)
