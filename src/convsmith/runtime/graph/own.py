"""Operations of our own, that rewritten graphs have where PyTorch has none on maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CHANNEL_CONVOLUTION", "CHANNEL_NORM"]

_LIBRARY: Any = torch.library.Library("convsmith", "FRAGMENT")  # type: ignore[no-untyped-call]


def _channel_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """A layer norm over the second axis."""
    last = torch.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, eps)
    return last.movedim(-1, 1)


def _channel_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One window slides over the second axis, which keeps its length; the others are of length 1.

    Wang et al., ECA-Net (arXiv:1910.03151).
    """
    padding = weight.shape[2] // 2
    return F.conv1d(x.flatten(1)[:, None], weight, bias, padding=padding).view_as(x)


_LIBRARY.define("channel_norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor")
_LIBRARY.define("channel_convolution(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_LIBRARY.impl("channel_norm", _channel_norm, "CompositeImplicitAutograd")
_LIBRARY.impl("channel_convolution", _channel_convolution, "CompositeImplicitAutograd")

CHANNEL_NORM = torch.ops.convsmith.channel_norm.default
CHANNEL_CONVOLUTION = torch.ops.convsmith.channel_convolution.default
