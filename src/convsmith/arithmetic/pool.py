"""Max and average pooling, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from convsmith.arithmetic.geometry import Geometry
from convsmith.arithmetic.normalise import Size, choice, count, infer_dims, per_axis, per_side
from convsmith.arithmetic.window import Window
from convsmith.errors import ArgumentError

__all__ = ["Pool"]


@dataclass(frozen=True, init=False, repr=False)
class Pool(Geometry):
    """A window that keeps the largest value (`kind='max'`) or the mean (`kind='average'`).

    `stride` is the kernel size unless given. A max pool pads with -∞; an average divides by the
    whole kernel, or by the real positions alone when `count_include_pad` is false.

    >>> Pool(3, stride=2, ceil_mode=True).output_size((112, 112))
    (56, 56)
    """

    windows: tuple[Window, ...]
    kind: str
    ceil_mode: bool
    count_include_pad: bool

    params = 0

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size | Sequence[tuple[int, int]] = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        kind: str = "max",
        count_include_pad: bool = True,
        dims: int | None = None,
    ) -> None:
        dims = infer_dims(
            dims, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        kernels = per_axis("kernel_size", kernel_size, dims)
        strides = kernels if stride is None else per_axis("stride", stride, dims)
        pads = per_side("padding", padding, dims)
        windows = tuple(map(Window, kernels, strides, pads, per_axis("dilation", dilation, dims)))
        for window in windows:
            if 2 * max(window.padding) > window.extent:
                raise ArgumentError(
                    "a pool may be padded by at most half its window: "
                    f"{window.padding} for {window.extent}"
                )
        put = object.__setattr__
        put(self, "windows", windows)
        put(self, "kind", choice("kind", kind, ("max", "average")))
        put(self, "ceil_mode", bool(ceil_mode))
        put(self, "count_include_pad", bool(count_include_pad))

    def macs(self, input_size: Size, batch: int = 1) -> int:
        """Always 0: a pool multiplies nothing by a weight."""
        self.output_size(input_size)
        return 0

    def flops(self, input_size: Size, batch: int = 1, channels: int = 1) -> int:
        """Comparisons (k·k - 1 an output value), or additions and the division (k·k)."""
        each = self.taps - (self.kind == "max")
        return count("batch", batch, 0) * channels * each * prod(self.output_size(input_size))

    def bytes_moved(
        self, input_size: Size, batch: int = 1, itemsize: int = 4, channels: int = 1
    ) -> int:
        """Bytes of input and output, each touched once."""
        sizes = per_axis("input_size", input_size, self.dims)
        values = prod(sizes) + prod(self.output_size(sizes))
        return itemsize * count("batch", batch, 0) * channels * values

    def _output_length(self, axis: int, length: int) -> int:
        return self.windows[axis].output_length(length, ceil_mode=self.ceil_mode)

    def _output_channels(self, channels: int) -> int:
        return count("channels", channels)

    def __repr__(self) -> str:
        parts = [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        if any(map(any, self.padding)):
            parts.append(f"padding={self.padding}")
        if set(self.dilation) != {1}:
            parts.append(f"dilation={self.dilation}")
        if self.ceil_mode:
            parts.append("ceil_mode=True")
        if self.kind != "max":
            parts.append(f"kind={self.kind!r}")
            parts += ["count_include_pad=False"] * (not self.count_include_pad)
        return f"Pool({', '.join(parts)})"
