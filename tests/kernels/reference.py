"""What activations of kernels compute, by PyTorch: an oracle for every one, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CALLS", "activated"]

CALLS: dict[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "celu": lambda x, alpha, scale, inner: F.celu(x, alpha),
    "clamp": torch.clamp,
    "clamp_max": lambda x, low, high: torch.clamp_max(x, high),
    "clamp_min": lambda x, low, high: torch.clamp_min(x, low),
    "elu": lambda x, alpha, scale=1, inner=1: torch.ops.aten.elu(x, alpha, scale, inner),
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "hardshrink": F.hardshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "identity": lambda x: x,
    "leaky_relu": F.leaky_relu,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log_sigmoid": F.logsigmoid,
    "mish": F.mish,
    "pow": torch.pow,
    "prelu": F.prelu,
    "reciprocal": torch.reciprocal,
    "relu": F.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "rrelu": lambda x, slope: F.rrelu(x, slope, slope),
    "rsqrt": torch.rsqrt,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "softplus": F.softplus,
    "softshrink": F.softshrink,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
    "threshold": F.threshold,
    "trunc": torch.trunc,
}
"""By operation: of a value, the slopes of `prelu`, and the numbers that follow in the name."""


def activated(name: str, x: Tensor, slope: Tensor | None = None) -> Tensor:
    """The activation of that name, such as `clamp:-1.0:2.5`; `prelu` takes slopes."""
    operation, *words = name.split(":")
    slopes = [slope] if operation == "prelu" else []
    return CALLS[operation](x, *slopes, *map(_word, words))


def _word(word: str) -> Any:
    try:
        return float(word)
    except ValueError:
        return word
