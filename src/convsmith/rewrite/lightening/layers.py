"""What `lighten` put in the place of a convolution, as plain data, and made again from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from convsmith.errors import ArgumentError
from convsmith.network import submodule
from convsmith.nn import Factored
from convsmith.nn.factored import layer_named
from convsmith.rewrite.surgery import replace
from convsmith.schema import boolean, choice, either, entries, integer, several, text

__all__ = ["describe", "redo"]

_ARGUMENTS = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding",
    "dilation", "groups", "padding_mode", "multiplier", "rank", "transposed",
)  # fmt: skip

_COUNT = integer(1, 1 << 30)
_SIZES = several(integer(0, 1 << 16), 1, 3)
_RULE = entries(
    {"form": text, "bias": several(boolean, 1, 8),
     "dtype": choice("bfloat16", "float16", "float32", "float64")},
    optional={
        **dict.fromkeys(("in_channels", "out_channels", "groups", "multiplier"), _COUNT),
        "rank": either(several(_COUNT, 2, 2), _COUNT),
        **dict.fromkeys(("kernel_size", "stride", "output_padding", "dilation"), _SIZES),
        "padding": either(choice("same", "valid"), _SIZES),
        "padding_mode": choice("zeros", "reflect", "replicate", "circular"),
        "transposed": boolean,
    },
)  # fmt: skip


def describe(module: nn.Module) -> dict[str, Any]:
    """A lighter layer as plain data: its class, and what its constructor takes.

    >>> from convsmith.nn import TuckerConv
    >>> describe(TuckerConv(8, 8, (3, 3), rank=(2, 3)))["rank"]
    (2, 3)
    """
    assert isinstance(module, Factored)
    parts = [part for part in module.children() if isinstance(part, _ConvNd)]
    return {
        "form": type(module).__name__,
        "bias": [part.bias is not None for part in parts],
        "dtype": str(module.last.weight.dtype).removeprefix("torch."),
        **{name: getattr(module, name) for name in _ARGUMENTS if hasattr(module, name)},
    }


def redo(model: nn.Module, path: str, description: Mapping[str, Any]) -> None:
    """Put the layer that was described in the place of the one at `path`.

    Raises:
        ArgumentError: for a class that is not a registered form's, or an argument that no
            description has, with its place.
    """
    _RULE(description, f"layers.{path}")
    layer = _build(description)
    _check_place(submodule(model, path), path, layer)
    replace(model, path, layer)


def _check_place(old: nn.Module, path: str, layer: Factored) -> None:
    """Refuse a convolution of other channels or kernel than the one that the layer stands for."""
    if not isinstance(old, _ConvNd) or 0 in (old.in_channels, old.out_channels):
        return  # a lazy convolution knows no channels yet
    for name in ("in_channels", "out_channels", "kernel_size"):
        ours, theirs = getattr(old, name), getattr(layer, name)
        if ours != theirs:
            raise ArgumentError(f"{name} of {path!r} is {theirs} in the folder and {ours} here")


def _build(description: Mapping[str, Any]) -> Factored:
    arguments = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description.items()
    }
    layer_class: Any = layer_named(str(arguments.pop("form")))
    if layer_class is None:
        raise ArgumentError(f"no layer is called {description['form']!r}")
    dtype = getattr(torch, str(arguments.pop("dtype")))
    biases = arguments.pop("bias")
    layer: Factored = layer_class(**arguments, bias=True, dtype=dtype)
    # A layer made from a trained one has its bias on the last convolution alone, or nowhere.
    parts = [part for part in layer.children() if isinstance(part, _ConvNd)]
    for part, biased in zip(parts, biases, strict=True):
        if not biased:
            part.bias = None
    return layer
