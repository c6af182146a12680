"""Standard, grouped, depthwise, pointwise and dilated convolutions, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from convsmith.arithmetic.chain import Chain
from convsmith.arithmetic.channels import Convolution
from convsmith.arithmetic.normalise import Size, choice, count, infer_dims, per_axis, per_side
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.arithmetic.window import PADDING_MODES, Window
from convsmith.errors import ArgumentError

__all__ = ["Conv"]


@dataclass(frozen=True, init=False, repr=False)
class Conv(Convolution):
    """A convolution of m = `in_channels` maps into n = `out_channels` maps.

    Every size is an int or one int per axis (rows first). `padding` is an int, one int per axis,
    one `(low, high)` pair per axis, `'same'` or `'valid'`. The number of axes follows from the
    tuples passed, or from `dims`; it is 2 when nothing says otherwise.

    Raises `ArgumentError` for arguments that no convolution can have.

    >>> conv = Conv(3, 10, kernel_size=3, stride=2, padding="valid")
    >>> conv.params, conv.output_size((128, 128)), conv.macs((128, 128))
    (280, (63, 63), 1071630)
    >>> conv.separable()
    Chain(Conv(3, 3, kernel_size=3, stride=2, groups=3), Conv(3, 10, kernel_size=1))
    """

    padding_mode: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | Sequence[tuple[int, int]] | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dims: int | None = None,
    ) -> None:
        self._set_channels(in_channels, out_channels, groups, bias)
        dims = infer_dims(
            dims, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        kernels = per_axis("kernel_size", kernel_size, dims)
        strides = per_axis("stride", stride, dims)
        dilations = per_axis("dilation", dilation, dims)
        if isinstance(padding, str):
            choice("padding", padding, ("same", "valid"))
            if padding == "same" and set(strides) != {1}:
                raise ArgumentError(
                    f"padding='same' keeps the size, so stride must be 1, not {stride!r}"
                )
            # An odd total puts the extra zero at the far end, as PyTorch does.
            totals = [
                d * (k - 1) * (padding == "same") for k, d in zip(kernels, dilations, strict=True)
            ]
            pads = tuple((total // 2, total - total // 2) for total in totals)
        else:
            pads = per_side("padding", padding, dims)
        windows = tuple(map(Window, kernels, strides, pads, dilations))
        object.__setattr__(self, "windows", windows)
        object.__setattr__(
            self, "padding_mode", choice("padding_mode", padding_mode, PADDING_MODES)
        )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out_channels, in_channels / groups, *kernel_size)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def depthwise(self, multiplier: int = 1) -> Conv:
        """The spatial half: `multiplier` kernels per channel, no mixing of channels."""
        channels = self.in_channels * count("multiplier", multiplier)
        return self._with(self.in_channels, channels, groups=self.in_channels)

    def pointwise(self, multiplier: int = 1) -> Conv:
        """The mixing half: 1×1, from the channels of `depthwise(multiplier)` to the output's."""
        channels = self.in_channels * count("multiplier", multiplier)
        return Conv(
            channels, self.out_channels, 1, groups=self.groups, bias=self.bias, dims=self.dims
        )

    def separable(self, multiplier: int = 1) -> Chain:
        """The depthwise separable form, `depthwise` then `pointwise`, of the same output size.

        Sifre & Mallat 2014; Howard et al. 2017 (MobileNet, arXiv:1704.04861).

        >>> Conv(3, 30, kernel_size=10).separable().params
        423
        """
        return Chain(self.depthwise(multiplier), self.pointwise(multiplier))

    def cost_ratio(self, multiplier: int = 1) -> Fraction:
        """Multiply-adds of `separable(multiplier)` over this convolution's, in closed form.

        multiplier·(groups/n + 1/(k·k)) for n output channels; the size of the map drops out.

        >>> Conv(64, 128, kernel_size=3).cost_ratio()
        Fraction(137, 1152)
        """
        return multiplier * (Fraction(self.groups, self.out_channels) + Fraction(1, self.taps))

    def transpose(self, output_padding: Size = 0) -> ConvTranspose:
        """The transposed convolution with these windows: from this output's size to its input's."""
        if self.padding_mode != "zeros":
            raise ArgumentError(f"only zero padding can be transposed, not {self.padding_mode!r}")
        return ConvTranspose(
            self.out_channels,
            self.in_channels,
            output_padding=output_padding,
            **self._window_arguments(),
        )

    def _with(self, in_channels: int, out_channels: int, groups: int) -> Conv:
        arguments = self._window_arguments() | {"groups": groups}
        return Conv(in_channels, out_channels, padding_mode=self.padding_mode, **arguments)

    def _window_arguments(self) -> dict[str, Any]:
        return super()._arguments() | {"padding": self.padding, "dims": self.dims}

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | {"padding_mode": self.padding_mode}

    def _output_length(self, axis: int, length: int) -> int:
        window = self.windows[axis]
        most = {"reflect": length - 1, "circular": length}.get(self.padding_mode)
        if most is not None and max(window.padding) > most:
            raise ArgumentError(
                f"{self.padding_mode} padding of {window.padding} needs values that an axis of "
                f"{length} does not have: at most {most}"
            )
        return window.output_length(length)

    def _kernel_placements(self, input_size: Size) -> int:
        return prod(self.output_size(input_size))
