"""Fused kernels for the layers of this room, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from torch import nn

from convsmith.errors import ArgumentError, ConvsmithError
from convsmith.nn.pair import Fusion, SeparablePair

__all__ = ["use_fused_"]

_Model = TypeVar("_Model", bound=nn.Module)


def use_fused_(model: _Model, on: bool = True) -> _Model:
    """Let the separable layers of a model run in fused kernels, in place.

    They are used in evaluation mode where no gradient is wanted, for float32 maps on the
    processor; everywhere else PyTorch runs the layer, and gradients are those of before. Weights
    may change at any time. The state_dict stays as it is.

    Args:
        model: a model with layers of `convsmith.nn`, or such a layer.
        on: False puts everything back.

    Returns:
        The model.

    Raises:
        ConvsmithError: where convsmith is not installed but only lies on the path.

    >>> import torch
    >>> from convsmith.nn import DepthwiseSeparableConv2d
    >>> layer = use_fused_(DepthwiseSeparableConv2d(8, 16, 3).eval())
    >>> with torch.no_grad():
    ...     layer(torch.zeros(1, 8, 10, 10)).shape
    torch.Size([1, 16, 8, 8])
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    for module in model.modules():
        if isinstance(module, SeparablePair):
            module._fusion = _provider()() if on else None
    return model


@cache
def _provider() -> Callable[[], Fusion]:
    # Kernels live on a floor above this one, which knows them by the name of an entry point.
    found = list(entry_points(group="convsmith.fused"))
    if not found:
        raise ConvsmithError("no fused kernels are registered: install convsmith with pip")
    provider: Callable[[], Fusion] = found[0].load()
    return provider
