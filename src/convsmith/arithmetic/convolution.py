"""Standard, grouped, depthwise, pointwise, dilated and transposed convolutions, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from convsmith.arithmetic.chain import Chain
from convsmith.arithmetic.geometry import Geometry
from convsmith.arithmetic.normalise import Size, choice, count, infer_dims, per_axis, per_side
from convsmith.arithmetic.window import PADDING_MODES, Window
from convsmith.errors import ArgumentError

__all__ = ["Conv", "ConvTranspose"]


@dataclass(frozen=True, init=False, repr=False)
class _Convolution(Geometry):
    """Channels, groups, bias and counting: the same for both directions."""

    in_channels: int
    out_channels: int
    windows: tuple[Window, ...]
    groups: int
    bias: bool

    def _set_channels(self, in_channels: int, out_channels: int, groups: int, bias: bool) -> None:
        put = object.__setattr__
        put(self, "in_channels", count("in_channels", in_channels))
        put(self, "out_channels", count("out_channels", out_channels))
        put(self, "groups", count("groups", groups))
        put(self, "bias", bool(bias))
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if channels % self.groups:
                raise ArgumentError(
                    f"groups must divide {name}: {channels} is no multiple of {groups}"
                )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight as PyTorch keeps it."""
        raise NotImplementedError

    @property
    def params(self) -> int:
        """Weights plus biases.

        >>> Conv(3, 30, kernel_size=10).params
        9030
        """
        return prod(self.weight_shape) + self.out_channels * self.bias

    @property
    def is_depthwise(self) -> bool:
        """Whether every input channel has kernels of its own: groups = in_channels > 1."""
        return self.groups == self.in_channels > 1

    @property
    def is_pointwise(self) -> bool:
        """Whether every kernel has a single tap."""
        return self.taps == 1

    def macs(self, input_size: Size, batch: int = 1) -> int:
        """Multiply-adds, those on padding included (as every runtime executes them); no bias.

        k·k·m·n·h'·w' for m input and n output maps, over `groups`. For a transposed convolution
        h'·w' are positions of the *input*: each stamps one kernel.

        >>> Conv(100, 50, kernel_size=1).macs(224)
        250880000
        """
        return (
            count("batch", batch, 0) * prod(self.weight_shape) * self._kernel_placements(input_size)
        )

    def real_macs(self, input_size: Size, batch: int = 1) -> int:
        """Multiply-adds whose operand is a real position: those on zero padding left out.

        >>> Conv(1, 1, 3, padding=36, dilation=36).real_macs(33)  # it has become a 1×1
        1089
        """
        sizes = per_axis("input_size", input_size, self.dims)
        outputs = self.output_size(sizes)
        slides = (
            zip(outputs, sizes, strict=True)
            if self.transposed
            else zip(sizes, outputs, strict=True)
        )
        pairs = prod(
            window.real_taps(length, placements)
            for window, (length, placements) in zip(self.windows, slides, strict=True)
        )
        return count("batch", batch, 0) * prod(self.weight_shape) // self.taps * pairs

    def flops(self, input_size: Size, batch: int = 1) -> int:
        """Floating-point operations: two a multiply-add, and one addition a biased output value."""
        outputs = count("batch", batch, 0) * self.out_channels * prod(self.output_size(input_size))
        return 2 * self.macs(input_size, batch) + outputs * self.bias

    def bytes_moved(self, input_size: Size, batch: int = 1, itemsize: int = 4) -> int:
        """Bytes of input, parameters and output, each touched once: the least any runtime moves."""
        sizes = per_axis("input_size", input_size, self.dims)
        maps = self.in_channels * prod(sizes) + self.out_channels * prod(self.output_size(sizes))
        return itemsize * (count("batch", batch, 0) * maps + self.params)

    def _kernel_placements(self, input_size: Size) -> int:
        raise NotImplementedError

    def _output_channels(self, channels: int) -> int:
        if channels != self.in_channels:
            raise ArgumentError(
                f"expected {self.in_channels} input channels, got {channels}: {self!r}"
            )
        return self.out_channels

    def _arguments(self) -> dict[str, Any]:
        symmetric = all(low == high for low, high in self.padding)
        padding = tuple(low for low, _ in self.padding) if symmetric else self.padding
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "bias": self.bias,
        }

    def __repr__(self) -> str:
        parts = [str(self.in_channels), str(self.out_channels)]
        usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True,
                 "padding_mode": "zeros", "output_padding": 0}  # fmt: skip
        for name, value in self._arguments().items():
            if isinstance(value, tuple) and len(set(value)) == 1 and isinstance(value[0], int):
                value = value[0]
            if value != usual.get(name):
                parts.append(f"{name}={value!r}")
        if self.dims != 2:
            parts.append(f"dims={self.dims}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, init=False, repr=False)
class Conv(_Convolution):
    """A convolution of m = `in_channels` maps into n = `out_channels` maps.

    Every size is an int or one int an axis (rows first). `padding` is an int, one int an axis,
    one `(low, high)` pair an axis, `'same'` or `'valid'`. The number of axes follows from the
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
        """The spatial half: `multiplier` kernels a channel, no mixing of channels."""
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


@dataclass(frozen=True, init=False, repr=False)
class ConvTranspose(_Convolution):
    """A transposed convolution: every input value stamps its multiple of the kernel on the output.

    The output length is (length - 1)·stride - low - high + dilation·(kernel - 1) + 1 +
    `output_padding`. Several input sizes of a strided convolution share one output size, and
    `output_padding` says which of them is meant; it adds positions at the far end, no values.

    >>> ConvTranspose(1, 1, kernel_size=3).output_size((2, 2))
    (4, 4)
    """

    transposed = True
    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | Sequence[tuple[int, int]] = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        dims: int | None = None,
    ) -> None:
        self._set_channels(in_channels, out_channels, groups, bias)
        dims = infer_dims(
            dims,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
        )
        strides = per_axis("stride", stride, dims)
        dilations = per_axis("dilation", dilation, dims)
        extra = per_axis("output_padding", output_padding, dims, minimum=0)
        for more, step, spacing in zip(extra, strides, dilations, strict=True):
            if more >= max(step, spacing):
                raise ArgumentError(
                    f"output_padding must be smaller than stride or dilation: "
                    f"{more} is not below {max(step, spacing)}"
                )
        kernels = per_axis("kernel_size", kernel_size, dims)
        windows = tuple(
            map(Window, kernels, strides, per_side("padding", padding, dims), dilations)
        )
        object.__setattr__(self, "windows", windows)
        object.__setattr__(self, "output_padding", extra)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(in_channels, out_channels / groups, *kernel_size)."""
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | {"output_padding": self.output_padding}

    def _output_length(self, axis: int, length: int) -> int:
        window, extra = self.windows[axis], self.output_padding[axis]
        outputs = (length - 1) * window.stride - sum(window.padding) + window.extent + extra
        if outputs < 1:
            raise ArgumentError(
                f"no output: ({length} - 1)·{window.stride} - {window.padding[0]} - "
                f"{window.padding[1]} + {window.extent} + {extra} = {outputs}"
            )
        return outputs

    def _kernel_placements(self, input_size: Size) -> int:
        self.output_size(input_size)
        return prod(per_axis("input_size", input_size, self.dims))
