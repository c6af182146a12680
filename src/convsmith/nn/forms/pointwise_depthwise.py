"""A pointwise convolution, then a depthwise one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from convsmith.nn.composed import ComposedConv, grouped, part
from convsmith.nn.factorise import balance, nested_factors
from convsmith.nn.whitening import kronecker_roots

__all__ = ["PointwiseFirstConv"]


class PointwiseFirstConv(
    ComposedConv, form="pointwise_depthwise", formerly="pointwise → depthwise"
):
    """A pointwise convolution, then a depthwise one, in place of a convolution.

    For output channel ``o`` the weight is a matrix (inputs, taps). With ``rank`` T terms the
    pointwise convolution makes T maps for each output and the depthwise one filters and sums them:
    the truncated singular value decomposition of each output's matrix, exact at min(in/groups,
    taps). With T = 1 it is the blueprint separable convolution (Haase and Amthor 2020,
    arXiv:2003.13549). The pointwise convolution has no bias, so that zeros stay zeros and padding
    may come after it; it works at the size of the *input*.

    With ``moments`` the error of a tap counts by the covariance of the patches, that of a channel
    by its strength: see `convsmith.nn.whitening`.

    Args and errors are those of the torch layer; ``kernel_size`` as a tuple says how many axes
    there are, ``transposed`` and ``output_padding`` make it stand for a transposed convolution.

    >>> layer = PointwiseFirstConv(16, 8, (3, 3), rank=2, stride=2, padding=1)
    >>> layer(torch.zeros(1, 16, 9, 9)).shape
    torch.Size([1, 8, 5, 5])
    >>> conv = torch.nn.Conv1d(3, 5, 7, padding="same", dtype=torch.float64)
    >>> x = torch.rand(1, 3, 20, dtype=torch.float64)
    >>> torch.allclose(PointwiseFirstConv.from_conv(conv)(x), conv(x))
    True
    """

    _names = ("pointwise", "depthwise")

    pointwise: _ConvNd
    depthwise: _ConvNd

    @classmethod
    def reason(cls, conv: _ConvNd) -> str:
        """Say why a convolution has no such form; '' if it has."""
        if conv.in_channels == conv.groups:
            return "each output reads one channel: there is nothing to mix first"
        return "pointwise already" if conv.weight[0, 0].numel() == 1 else ""

    @classmethod
    def full_rank(cls, conv: _ConvNd) -> int:
        """min(in_channels / groups, taps)."""
        return min(conv.in_channels // conv.groups, conv.weight[0, 0].numel())

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
        """Return the pointwise and the depthwise convolution of a rank."""
        n, axes = conv.out_channels, range(len(conv.kernel_size))
        return (
            part(conv, conv.in_channels, n * rank, (), groups=conv.groups, device=device,
                 dtype=dtype),
            part(conv, n * rank, n, axes, groups=n, bias=bias, device=device, dtype=dtype),
        )  # fmt: skip

    @classmethod
    def factors(cls, conv: _ConvNd, rank: Any, moments: Tensor | None) -> tuple[Tensor, ...]:
        """Return the pointwise and the depthwise weight."""
        left, right = _split(conv, moments)
        groups, n, m, _ = left.shape
        ones = (1,) * len(conv.kernel_size)
        mix = left[..., :rank].transpose(2, 3).reshape(groups * n * rank, m, *ones)
        spread = right[:, :, :rank].reshape(
            *((groups * n * rank, 1) if conv.transposed else (groups * n, rank)), *conv.kernel_size
        )
        return mix, spread

    @classmethod
    def products(cls, conv: _ConvNd, ranks: Sequence[Any], moments: Tensor | None) -> list[Tensor]:
        """Return the weight each rank amounts to, as `grouped` lays it out, in float64."""
        left, right = _split(conv, moments)
        shape = (*left.shape[:3], *conv.kernel_size)
        return [(left[..., :r] @ right[:, :, :r]).reshape(shape) for r in ranks]


def _split(conv: _ConvNd, moments: Tensor | None) -> tuple[Tensor, Tensor]:
    """Columns over input channels and kernels of every output, most important first."""
    weight = grouped(conv).flatten(3)
    groups, n, m, _ = weight.shape
    strength, weakness, root, _ = kronecker_roots(moments, groups, m, conv.kernel_size, ())
    matrices = (strength[:, None, :, 0] * weight).flatten(0, 1)
    left, right = nested_factors(matrices, root.repeat_interleave(n, 0))
    left = weakness[:, None, :, 0] * left.reshape(groups, n, m, -1)
    return balance(left, right.reshape(groups, n, -1, right.shape[2]))
