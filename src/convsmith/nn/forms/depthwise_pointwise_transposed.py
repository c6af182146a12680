"""Depthwise separable transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convsmith.arithmetic import ConvTranspose
from convsmith.arithmetic.normalise import per_axis
from convsmith.errors import ArgumentError
from convsmith.nn.pair import Activation, Norm, SeparablePair
from convsmith.nn.plain import naming

__all__ = [
    "DepthwiseSeparableConvTranspose1d",
    "DepthwiseSeparableConvTranspose2d",
    "DepthwiseSeparableConvTranspose3d",
]


class _SeparableConvTranspose(SeparablePair):
    """The signature of ``nn.ConvTranspose*d``, in any dimension."""

    _geometry = (*SeparablePair._geometry, "output_padding")

    output_padding: tuple[int, ...]
    padding_mode = "zeros"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
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
            if padding_mode != "zeros":
                raise ArgumentError(
                    "padding_mode must be 'zeros', the only one torch has for transposed "
                    f"convolutions, not {padding_mode!r}"
                )
            # Arithmetic also knows (low, high) pairs, which torch does not.
            pads = per_axis("padding", padding, axes, minimum=0)
            standard = ConvTranspose(
                in_channels, out_channels, kernel_size, stride, pads, output_padding, groups, bias,
                dilation, axes,
            )  # fmt: skip
        super().__init__(
            standard, pads, device, dtype, multiplier, norm, activation, mid_norm, mid_activation
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return (N, out_channels, *size) for (N, in_channels, *size), or both without the N.

        Args:
            input: the maps.
            output_size: the size wanted, out of those that one input size can come from, as many
                as the stride on each axis; it takes the place of output_padding.
        """
        fused = self._fused(input) if output_size is None else None
        return self._mix(self.depthwise(input, output_size)) if fused is None else fused


class DepthwiseSeparableConvTranspose1d(_SeparableConvTranspose, form="depthwise_pointwise"):
    """A depthwise transposed convolution of sequences, then a pointwise one.

    Arguments, attributes and errors are those of `DepthwiseSeparableConvTranspose2d`, one axis.

    >>> layer = DepthwiseSeparableConvTranspose1d(8, 4, 4, stride=2, padding=1)
    >>> layer(torch.zeros(1, 8, 7)).shape
    torch.Size([1, 4, 14])
    """

    dimensions = 1
    _depthwise = nn.ConvTranspose1d
    _pointwise = nn.Conv1d


class DepthwiseSeparableConvTranspose2d(_SeparableConvTranspose, form="depthwise_pointwise"):
    """A depthwise transposed convolution, then a pointwise one, as ``nn.ConvTranspose2d``.

    The output has the size of the transposed convolution's. The pointwise convolution is an
    ordinary one and works at that size.

    Args:
        in_channels: channels of the input, each with its own depthwise kernels.
        out_channels: channels of the output.
        kernel_size: an int or (rows, columns), for the depthwise convolution.
        stride: an int or (rows, columns), of the depthwise convolution.
        padding: an int or (rows, columns) that the output is cropped by on each side.
        output_padding: an int or (rows, columns) added to the output's size on one side.
        groups: groups of the pointwise convolution; it divides both channel counts.
        bias: whether both convolutions have a bias.
        dilation: an int or (rows, columns), of the depthwise convolution.
        padding_mode: ``'zeros'``, the only one that torch knows here.
        device: device of all parameters.
        dtype: dtype of all parameters.
        multiplier: depthwise kernels for each input channel.
        norm: ``norm(channels)`` makes the module after the pointwise convolution.
        activation: ``activation()`` makes the module after that.
        mid_norm: like ``norm``, after the depthwise convolution.
        mid_activation: like ``activation``, after the depthwise convolution.

    Attributes are those of `DepthwiseSeparableConv2d`, and ``output_padding``.

    Raises:
        ArgumentError: an argument of the wrong kind or range, groups that do not divide both
            channel counts, an output_padding that reaches both stride and dilation, or another
            padding_mode.

    >>> layer = DepthwiseSeparableConvTranspose2d(8, 4, 2, stride=2)
    >>> layer(torch.zeros(1, 8, 7, 5)).shape
    torch.Size([1, 4, 14, 10])
    >>> layer(torch.zeros(1, 8, 7, 5), output_size=(15, 10)).shape
    torch.Size([1, 4, 15, 10])
    """

    dimensions = 2
    _depthwise = nn.ConvTranspose2d
    _pointwise = nn.Conv2d


class DepthwiseSeparableConvTranspose3d(_SeparableConvTranspose, form="depthwise_pointwise"):
    """A depthwise transposed convolution of volumes, then a pointwise one.

    Arguments, attributes and errors are those of `DepthwiseSeparableConvTranspose2d`, three axes.

    >>> layer = DepthwiseSeparableConvTranspose3d(2, 5, 2, stride=(1, 2, 2))
    >>> layer(torch.zeros(1, 2, 4, 9, 9)).shape
    torch.Size([1, 5, 5, 18, 18])
    """

    dimensions = 3
    _depthwise = nn.ConvTranspose3d
    _pointwise = nn.Conv3d
