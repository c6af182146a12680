"""Channels, groups, bias and counting: what convolutions have beyond their windows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from convsmith.arithmetic.geometry import Geometry
from convsmith.arithmetic.normalise import Size, count, per_axis
from convsmith.arithmetic.window import Window
from convsmith.errors import ArgumentError

__all__ = ["Convolution"]


@dataclass(frozen=True, init=False, repr=False)
class Convolution(Geometry):
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
                    f"groups must divide {name}: {channels} is not a multiple of {groups}"
                )

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight as PyTorch keeps it."""
        raise NotImplementedError

    @property
    def params(self) -> int:
        """Weights plus biases.

        >>> from convsmith.arithmetic import Conv
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

        >>> from convsmith.arithmetic import Conv
        >>> Conv(100, 50, kernel_size=1).macs(224)
        250880000
        """
        return (
            count("batch", batch, 0) * prod(self.weight_shape) * self._kernel_placements(input_size)
        )

    def real_macs(self, input_size: Size, batch: int = 1) -> int:
        """Multiply-adds whose operand is a real position: those on zero padding left out.

        >>> from convsmith.arithmetic import Conv
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
