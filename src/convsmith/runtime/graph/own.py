"""Operations of our own, that rewritten graphs have where PyTorch has none on maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "ADAPTIVE_MAXIMA", "CHANNEL_ARGMAX", "CHANNEL_CONVOLUTION", "CHANNEL_NORM",
    "CHANNEL_RESPONSE_NORM", "CHANNEL_RMS_NORM",
]  # fmt: skip

_LIBRARY: Any = torch.library.Library("convsmith", "FRAGMENT")  # type: ignore[no-untyped-call]


def _channel_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """A layer norm over the second axis."""
    last = torch.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, eps)
    return last.movedim(-1, 1)


def _channel_argmax(self: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    """The number of the largest value along an axis, as a float32."""
    return self.argmax(dim[0], keepdim).float()


def _channel_rms_norm(x: Tensor, weight: Tensor | None, eps: float | None) -> Tensor:
    """A norm by the root mean square over the second axis."""
    return F.rms_norm(x.movedim(1, -1), (x.shape[1],), weight, eps).movedim(-1, 1)


def _channel_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """A norm of each channel by the squares of those beside it (Krizhevsky et al. 2012)."""
    return F.local_response_norm(x, size, alpha, beta, k)


def _channel_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One window slides over the second axis, which keeps its length; the others are of length 1.

    Wang et al., ECA-Net (arXiv:1910.03151).
    """
    padding = weight.shape[2] // 2
    return F.conv1d(x.flatten(1)[:, None], weight, bias, padding=padding).view_as(x)


def _adaptive_maxima(self: Tensor, output_size: list[int]) -> Tensor:
    """The values of an adaptive pool, without their places."""
    values: Tensor = torch.ops.aten.adaptive_max_pool2d.default(self, output_size)[0]
    return values


_LIBRARY.define("adaptive_maxima_pool2d(Tensor self, SymInt[2] output_size) -> Tensor")
_LIBRARY.define("channel_norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor")
_LIBRARY.define("channel_rms_norm(Tensor x, Tensor? weight, float? eps) -> Tensor")
_LIBRARY.define(
    "channel_response_norm(Tensor x, int size, float alpha, float beta, float k) -> Tensor"
)
_LIBRARY.define("channel_argmax(Tensor self, int[] dim, bool keepdim) -> Tensor")
_LIBRARY.define("channel_convolution(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_LIBRARY.impl("adaptive_maxima_pool2d", _adaptive_maxima, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_norm", _channel_norm, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_rms_norm", _channel_rms_norm, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_response_norm", _channel_response_norm, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_argmax", _channel_argmax, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_convolution", _channel_convolution, "CompositeImplicitAutograd")

ADAPTIVE_MAXIMA = torch.ops.convsmith.adaptive_maxima_pool2d.default
CHANNEL_NORM = torch.ops.convsmith.channel_norm.default
CHANNEL_RMS_NORM = torch.ops.convsmith.channel_rms_norm.default
CHANNEL_RESPONSE_NORM = torch.ops.convsmith.channel_response_norm.default
CHANNEL_ARGMAX = torch.ops.convsmith.channel_argmax.default
CHANNEL_CONVOLUTION = torch.ops.convsmith.channel_convolution.default
