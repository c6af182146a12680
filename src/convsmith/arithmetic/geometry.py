"""What convolutions, transposed convolutions and pools share: one window an axis, and channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

from convsmith.arithmetic.normalise import Size, count, per_axis
from convsmith.arithmetic.positions import Positions
from convsmith.arithmetic.window import Window
from convsmith.errors import ArgumentError

__all__ = ["AXES", "Geometry"]

AXES = {1: ("column",), 2: ("row", "column"), 3: ("depth", "row", "column")}


class Geometry:
    """A layer that slides one window an axis; the subclasses add channels and direction.

    `windows` has one `Window` an axis, in tensor order. Where `transposed` is true each window
    slides over the layer's *output*, as the windows of the convolution it transposes do.
    """

    transposed: ClassVar[bool] = False
    windows: tuple[Window, ...]

    @property
    def dims(self) -> int:
        """The number of spatial axes: 1, 2 or 3."""
        return len(self.windows)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps per axis."""
        return tuple(window.kernel for window in self.windows)

    @property
    def stride(self) -> tuple[int, ...]:
        """Step per axis."""
        return tuple(window.stride for window in self.windows)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """`(low, high)` an axis."""
        return tuple(window.padding for window in self.windows)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distance between neighbouring taps, per axis."""
        return tuple(window.dilation for window in self.windows)

    @property
    def taps(self) -> int:
        """Positions of the kernel: the product of `kernel_size`."""
        return prod(self.kernel_size)

    def output_size(self, input_size: Size) -> tuple[int, ...]:
        """The spatial size of the output; `ArgumentError` with the numbers if it would be empty."""
        sizes = per_axis("input_size", input_size, self.dims)
        lengths = []
        for axis, length in enumerate(sizes):
            try:
                lengths.append(self._output_length(axis, length))
            except ArgumentError as error:
                name = AXES[self.dims][axis]
                raise ArgumentError(f"{error} (along the {name} axis of {self!r})") from None
        return tuple(lengths)

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The whole output shape of an input shaped (batch, channels, *spatial)."""
        if len(input_shape) != self.dims + 2:
            axes = ", ".join(AXES[self.dims])
            raise ArgumentError(
                f"expected a shape (batch, channels, {axes}), not {tuple(input_shape)}"
            )
        batch, channels, *size = input_shape
        return (count("batch", batch, 0), self._output_channels(channels), *self.output_size(size))

    def reads(self, axis: int, outputs: Positions) -> Positions:
        """Exactly the input positions along `axis`, padding included, that `outputs` depend on."""
        window = self._window(axis, outputs)
        return window.readers(outputs) if self.transposed else window.reads(outputs)

    def readers(self, axis: int, inputs: Positions) -> Positions:
        """Exactly the output positions along `axis`, not clipped, that depend on `inputs`."""
        window = self._window(axis, inputs)
        return window.reads(inputs) if self.transposed else window.readers(inputs)

    def _window(self, axis: int, positions: Positions) -> Window:
        if not isinstance(positions, Positions):
            raise ArgumentError(f"expected Positions, not {positions!r}")
        return self.windows[count("axis", axis, 0, self.dims - 1)]

    def input_range(self, axis: int, start: int, stop: int) -> tuple[int, int]:
        """The range of inputs along `axis` that outputs `[start, stop)` depend on, unclipped."""
        window = self.windows[axis]
        return (window.output_range if self.transposed else window.input_range)(start, stop)

    def output_range(self, axis: int, start: int, stop: int) -> tuple[int, int]:
        """The range of outputs along `axis` that depend on inputs `[start, stop)`, unclipped."""
        window = self.windows[axis]
        return (window.input_range if self.transposed else window.output_range)(start, stop)

    def _output_length(self, axis: int, length: int) -> int:
        raise NotImplementedError

    def _output_channels(self, channels: int) -> int:
        raise NotImplementedError
