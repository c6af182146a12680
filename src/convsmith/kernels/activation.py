"""Activations as Halide expressions, for the end of a kernel.

A NaN has to come through as it does in eager PyTorch. Halide takes float arithmetic to be free of
NaNs unless told otherwise, so comparisons are `strict_float`; only these: the sums of products
before them may be fused and are not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import halide as hl

from convsmith.errors import ArgumentError

__all__ = ["ACTIVATIONS", "activate"]

_SQRT_HALF = sqrt(0.5)
_TANH_GELU = sqrt(2 / pi)


def activate(name: str, value: Any) -> Any:
    """The activation of a value.

    Args:
        name: a key of `ACTIVATIONS`, or `clamp:LOW:HIGH` with numbers.
        value: a Halide expression of float32.

    Raises:
        ArgumentError: for another name.
    """
    if name.startswith("clamp:"):
        low, high = (float(bound) for bound in name.split(":")[1:])
        return _clamp(value, low, high)
    if name not in ACTIVATIONS:
        raise ArgumentError(f"no kernel has an activation {name!r}: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](value)


def _clamp(value: Any, low: float, high: float) -> Any:
    # A comparison with NaN is false, so that the value itself is left.
    above = hl.select(value > hl.f32(high), hl.f32(high), value)
    return hl.strict_float(hl.select(value < hl.f32(low), hl.f32(low), above))


def _relu(value: Any) -> Any:
    return hl.strict_float(hl.select(value < hl.f32(0), hl.f32(0), value))


def _sigmoid(value: Any) -> Any:
    # Halide's exponential is made from bits: it is right for numbers that are not too large.
    result = hl.f32(1) / (hl.f32(1) + hl.exp(-_clamp(value, -90, 90)))
    return hl.strict_float(hl.select(hl.is_nan(value), value, result))


def _hardsigmoid(value: Any) -> Any:
    return _clamp(value + hl.f32(3), 0, 6) * hl.f32(1 / 6)


def _tanh(value: Any) -> Any:
    return hl.f32(2) * _sigmoid(hl.f32(2) * value) - hl.f32(1)


def _gelu(value: Any) -> Any:
    return value * hl.f32(0.5) * (hl.f32(1) + hl.erf(_clamp(value * hl.f32(_SQRT_HALF), -4, 4)))


def _gelu_tanh(value: Any) -> Any:
    inner = hl.f32(_TANH_GELU) * (value + hl.f32(0.044715) * value * value * value)
    return value * hl.f32(0.5) * (hl.f32(1) + _tanh(inner))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda value: value,
    "relu": _relu,
    "relu6": lambda value: _clamp(value, 0, 6),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda value: value * _hardsigmoid(value),
    "sigmoid": _sigmoid,
    "silu": lambda value: value * _sigmoid(value),
    "tanh": _tanh,
    "gelu": _gelu,
    "gelu:tanh": _gelu_tanh,
}
