"""Depthwise separable convolutions with the signature of the ones they stand for."""

from __future__ import annotations

import torch
from torch import nn

from convsmith.arithmetic import Conv
from convsmith.arithmetic.normalise import per_axis
from convsmith.nn.pair import Activation, Norm, SeparablePair
from convsmith.nn.plain import naming

__all__ = ["DepthwiseSeparableConv1d", "DepthwiseSeparableConv2d", "DepthwiseSeparableConv3d"]


class _SeparableConv(SeparablePair):
    """The signature of ``nn.Conv*d``, in any dimension."""

    _geometry = (*SeparablePair._geometry, "padding_mode")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        multiplier: int = 1,
        norm: Norm | None = None,
        activation: Activation | None = None,
        mid_norm: Norm | None = None,
        mid_activation: Activation | None = None,
    ) -> None:
        axes = self.dimensions
        with naming(self):
            # Arithmetic also knows (low, high) pairs, which torch does not.
            if not isinstance(padding, str):
                padding = per_axis("padding", padding, axes, minimum=0)
            standard = Conv(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                padding_mode, axes,
            )  # fmt: skip
        super().__init__(
            standard, padding, device, dtype, multiplier, norm, activation, mid_norm, mid_activation
        )


class DepthwiseSeparableConv1d(_SeparableConv, form="depthwise_pointwise"):
    """A depthwise separable convolution of sequences, (N, in, L) to (N, out, L').

    Arguments, attributes and errors are those of `DepthwiseSeparableConv2d`, with one axis.

    >>> layer = DepthwiseSeparableConv1d(8, 12, 5, padding="same")
    >>> layer(torch.zeros(2, 8, 31)).shape
    torch.Size([2, 12, 31])
    """

    dimensions = 1
    _depthwise = nn.Conv1d
    _pointwise = nn.Conv1d


class DepthwiseSeparableConv2d(
    _SeparableConv, form="depthwise_pointwise", formerly="depthwise → pointwise"
):
    """A depthwise convolution, then a pointwise one, with the signature of ``nn.Conv2d``.

    The output has the size of the standard convolution's. Parameters and multiplications fall to
    about 1/out_channels + 1/taps of it (Howard et al. 2017, *MobileNets*, arXiv:1704.04861).

    Args:
        in_channels: channels of the input, each with its own depthwise kernels.
        out_channels: channels of the output.
        kernel_size: an int or (rows, columns), for the depthwise convolution.
        stride: an int or (rows, columns), of the depthwise convolution.
        padding: an int, (rows, columns), ``'same'`` or ``'valid'``.
        dilation: an int or (rows, columns), of the depthwise convolution.
        groups: groups of the pointwise convolution, so that output channels see the same input
            channels as in ``nn.Conv2d`` with these groups; it divides both channel counts.
        bias: whether both convolutions have a bias; a norm after them changes nothing about it.
        padding_mode: ``'zeros'``, ``'reflect'``, ``'replicate'`` or ``'circular'``.
        device: device of all parameters.
        dtype: dtype of all parameters.
        multiplier: depthwise kernels for each input channel; the pointwise convolution reads
            in_channels * multiplier channels.
        norm: ``norm(channels)`` makes the module after the pointwise convolution.
        activation: ``activation()`` makes the module after that.
        mid_norm: like ``norm``, after the depthwise convolution.
        mid_activation: like ``activation``, after the depthwise convolution.

    Attributes:
        depthwise: the ``nn.Conv2d`` with groups=in_channels.
        pointwise: the ``nn.Conv2d`` with kernel 1.
        norm: a module or None, and so are ``activation``, ``mid_norm`` and ``mid_activation``;
            what is absent leaves no trace in the state_dict.

    The arguments from in_channels to padding_mode and the multiplier are attributes too, sizes as
    tuples.

    Raises:
        ArgumentError: an argument of the wrong kind or range, groups that do not divide both
            channel counts, or ``padding='same'`` with a stride.

    >>> layer = DepthwiseSeparableConv2d(3, 10, 3)
    >>> layer(torch.zeros(1, 3, 128, 128)).shape
    torch.Size([1, 10, 126, 126])
    >>> sum(p.numel() for p in DepthwiseSeparableConv2d(3, 30, 10).parameters())  # 303 + 120
    423
    >>> DepthwiseSeparableConv2d(3, 10, 3, mid_activation=nn.ReLU, activation=nn.SiLU)
    DepthwiseSeparableConv2d(
      3, 10, kernel_size=(3, 3), stride=(1, 1)
      (depthwise): Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), groups=3)
      (mid_activation): ReLU()
      (pointwise): Conv2d(3, 10, kernel_size=(1, 1), stride=(1, 1))
      (activation): SiLU()
    )

    A trained convolution is taken over, at full rank exactly:

    >>> conv = nn.Conv2d(4, 6, 3, stride=2, dtype=torch.float64)
    >>> layer = DepthwiseSeparableConv2d.from_conv(conv, multiplier=6)
    >>> x = torch.ones(1, 4, 9, 9, dtype=torch.float64)
    >>> torch.allclose(layer(x), conv(x))
    True
    """

    dimensions = 2
    _depthwise = nn.Conv2d
    _pointwise = nn.Conv2d


class DepthwiseSeparableConv3d(_SeparableConv, form="depthwise_pointwise"):
    """A depthwise separable convolution of volumes, (N, in, D, H, W) to (N, out, D', H', W').

    Arguments, attributes and errors are those of `DepthwiseSeparableConv2d`, with three axes.

    >>> layer = DepthwiseSeparableConv3d(2, 5, (1, 3, 3), dilation=(1, 2, 2))
    >>> layer(torch.zeros(1, 2, 4, 9, 9)).shape
    torch.Size([1, 5, 4, 5, 5])
    """

    dimensions = 3
    _depthwise = nn.Conv3d
    _pointwise = nn.Conv3d
