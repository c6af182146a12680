"""The transposed convolution, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from convsmith.arithmetic.channels import Convolution
from convsmith.arithmetic.normalise import Size, infer_dims, per_axis, per_side
from convsmith.arithmetic.window import Window
from convsmith.errors import ArgumentError

__all__ = ["ConvTranspose"]


@dataclass(frozen=True, init=False, repr=False)
class ConvTranspose(Convolution):
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
