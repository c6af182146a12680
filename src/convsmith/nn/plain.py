"""Convolutions as torch computes them: which are, and their arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.errors import ArgumentError

__all__ = ["ORDINARY", "TRANSPOSED", "arithmetic_of", "naming", "plain_conv"]

ORDINARY: tuple[type[_ConvNd], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[type[_ConvNd], ...] = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@contextmanager
def naming(layer: nn.Module) -> Iterator[None]:
    """Begin the message of what arithmetic refuses with the name of the layer's class."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{type(layer).__name__}: {error}") from None


def plain_conv(conv: nn.Module, caller: str, kinds: Sequence[type[_ConvNd]]) -> _ConvNd:
    """Return the convolution if it is one of these as torch computes it, weights and all.

    Raises:
        ArgumentError: in the name of the caller, for another layer, a lazy one, or one that
            standardises its weight or pads by itself.
    """
    name = type(conv).__name__
    names = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
    expected = f"{caller}: conv must be an {names}"
    kind = next((kind for kind in kinds if isinstance(conv, kind)), None)
    if kind is None:
        raise ArgumentError(f"{expected}, not {name}")
    assert isinstance(conv, _ConvNd)
    if is_lazy(conv.weight):
        raise ArgumentError(f"{expected} with weights; run this {name} once to give it some")
    for method in ("forward", "_conv_forward"):
        if getattr(type(conv), method, None) is not getattr(kind, method, None):
            raise ArgumentError(f"{expected} as it is; {name} overrides its {method}()")
    return conv


def arithmetic_of(conv: _ConvNd) -> Conv | ConvTranspose:
    """The arithmetic of a torch convolution.

    >>> arithmetic_of(nn.Conv2d(3, 8, 3, padding="same"))
    Conv(3, 8, kernel_size=3, padding=1)
    """
    common: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
        "dims": len(conv.kernel_size),
    }
    if conv.transposed:
        return ConvTranspose(**common, output_padding=conv.output_padding)
    return Conv(**common, padding_mode=conv.padding_mode)
