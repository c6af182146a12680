"""What every layer is that stands for one convolution by a chain of cheaper ones."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

__all__ = ["Factored", "Rank"]

Rank = int | tuple[int, int]
"""How many terms the chain has; for two factored axes, of channels in and out."""


class Factored(nn.Module):
    """Base of the layers that take the place of a convolution: a body, then a last convolution.

    The body is linear where the layer was made by `from_conv`; the last convolution carries the
    bias and is the one that least squares can fit.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    @property
    def last(self) -> _ConvNd:
        """The last convolution."""
        raise NotImplementedError

    def body(self, input: Tensor) -> Tensor:
        """Return what the last convolution is given."""
        raise NotImplementedError

    @classmethod
    def from_conv(cls, conv: nn.Module, rank: Any, /, *, moments: Tensor | None = None) -> Self:
        """Return the layer of this rank that is closest to a trained convolution."""
        raise NotImplementedError

    @classmethod
    def parts(
        cls,
        conv: _ConvNd,
        rank: Any,
        *,
        bias: bool = False,
        device: torch.device | str | int | None = "meta",
        dtype: torch.dtype | None = None,
    ) -> tuple[_ConvNd, ...]:
        """Return the convolutions, in order, that stand for `conv` at a rank: shapes alone."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Initialise every part anew that can be."""
        for child in self.children():
            reset = getattr(child, "reset_parameters", None)
            if callable(reset):
                reset()
