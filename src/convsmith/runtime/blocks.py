"""Blocks: what is run as one call of a kernel for a band of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convsmith.arithmetic import Window
from convsmith.kernels.depthwise import Depthwise, Separable
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Dense, Epilogue, Pointwise
from convsmith.kernels.rows import MaxPool, RowSum, Scale
from convsmith.runtime.maps import Map

__all__ = ["Block", "Convolution", "Input", "Mean", "Output", "Pool", "Scaled"]

Array = np.ndarray[Any, Any]
_ONE = Window(1)


@dataclass(eq=False)
class Block:
    """One kernel between maps.

    Attributes:
        name: the layer whose value it gives.
        sources: the maps it reads.
        target: the map it writes; None for an output of the region.
        windows: how its rows and pixels read the first source's.
    """

    name: str
    sources: list[Map]
    target: Map | None
    windows: tuple[Window, Window] = (_ONE, _ONE)
    layers: list[str] = field(default_factory=list)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and pixels it gives for those of its first source."""
        rows, columns = (w.output_length(n) for w, n in zip(self.windows, size, strict=True))
        return rows, columns

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of a source that rows `[start, stop)` need; beyond its height is padding."""
        return self.windows[0].input_range(start, stop) if which == 0 else (start, stop)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        raise NotImplementedError

    def constants(self, isa: Isa) -> list[Array]:
        """Weights as the kernel takes them."""
        return []

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-adds for an output of this size."""
        return 0


@dataclass(eq=False)
class Convolution(Block):
    """A convolution, perhaps a depthwise one before it, and what follows on each value.

    Attributes:
        weight: (out, in / groups, rows, columns) of the (last) convolution.
        bias: one number a channel.
        depthwise: weight (channels, 1, rows, columns) and bias of the depthwise convolution before
            it; the windows are then of that one.
        middle: the activation between the two.
        activation: after the sum; `residual`: the map added then; `final`: the activation after it.
    """

    weight: Array = field(default_factory=lambda: np.empty(0))
    bias: Array = field(default_factory=lambda: np.empty(0))
    groups: int = 1
    depthwise: tuple[Array, Array] | None = None
    middle: str = "identity"
    activation: str = "identity"
    residual: Map | None = None
    final: str = "identity"

    @property
    def kind(self) -> str:
        """Which kernel it needs."""
        if self.depthwise is not None:
            return "separable"
        if self.groups > 1:
            return "depthwise"
        return "pointwise" if self.weight.shape[2:] == (1, 1) else "dense"

    @property
    def dilation(self) -> tuple[int, int]:
        """Of rows and columns."""
        return self.windows[0].dilation, self.windows[1].dilation

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        epilogue = Epilogue(self.activation, self.residual is not None, self.final)
        taps = (self.windows[0].kernel, self.windows[1].kernel)
        stride = (self.windows[0].stride, self.windows[1].stride)
        dilated = self.dilation != (1, 1)
        if self.kind == "depthwise":
            pixels = next(p for p in (7, 4, 2, 1) if p <= width)
            return Depthwise(pixels, taps, stride, dilated, epilogue)
        assert self.target is not None
        tile = self.target.tile
        pixels = isa.pixels(tile, width)
        unroll = 2 - self.weight.shape[1] % 2
        if self.kind == "separable":
            return Separable(
                tile, pixels, taps, stride, dilated, self.middle, unroll, epilogue
            )  # fmt: skip
        if self.kind == "pointwise" and stride[0] == stride[1]:
            return Pointwise(tile, pixels, unroll, epilogue)
        return Dense(tile, pixels, taps, stride, epilogue)

    def constants(self, isa: Isa) -> list[Array]:
        """Weights as the kernel takes them."""
        assert self.target is not None
        if self.kind == "depthwise":
            return _depthwise(self.weight, self.bias, self.target.pitch)
        sums = _sums(self.weight, self.target.pitch, self.target.tile)
        found = [sums, _padded(self.bias, self.target.pitch)]
        if self.depthwise is not None:
            found = [*_depthwise(*self.depthwise, self.sources[0].pitch), *found]
        return found

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-adds for an output of this size."""
        weights = self.weight.size + (self.depthwise[0].size if self.depthwise else 0)
        return weights * size[0] * size[1]


@dataclass(eq=False)
class Pool(Block):
    """The largest value of each window."""

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        rows, columns = self.windows
        return MaxPool((rows.kernel, columns.kernel), (rows.stride, columns.stride))


@dataclass(eq=False)
class Mean(Block):
    """One of the two sums that make a mean over the map: of rows, or of the sums of rows."""

    of_rows: bool = False

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """One value a row; or one in all."""
        return (size[0], 1) if self.of_rows else (1, 1)

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The same row, or all."""
        return (start, stop) if self.of_rows else (0, height)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return RowSum()


@dataclass(eq=False)
class Scaled(Block):
    """Each channel times a number of the image, as squeeze-and-excite does."""

    residual: Map | None = None
    activation: str = "identity"
    final: str = "identity"

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The gate is one pixel; it lies in the second source."""
        return (0, 1) if which == 1 else (start, stop)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Scale(Epilogue(self.activation, self.residual is not None, self.final))


@dataclass(eq=False)
class Input(Block):
    """A tensor from outside becomes a map."""


@dataclass(eq=False)
class Output(Block):
    """A map becomes a tensor for outside."""


def _padded(values: Array, pitch: int) -> Array:
    return np.concatenate([values, np.zeros(pitch - len(values))]).astype(np.float32)


def _sums(weight: Array, pitch: int, tile: int) -> Array:
    """(out, in, rows, columns) to (tiles, rows, columns, in, outputs of a tile)."""
    out, inputs, rows, columns = weight.shape
    padded = np.zeros((pitch, inputs, rows, columns), np.float32)
    padded[:out] = weight
    split = padded.reshape(pitch // tile, tile, inputs, rows, columns)
    return np.ascontiguousarray(split.transpose(0, 3, 4, 2, 1)).reshape(-1, tile)


def _depthwise(weight: Array, bias: Array, pitch: int) -> list[Array]:
    channels, _, rows, columns = weight.shape
    padded = np.zeros((rows, columns, pitch), np.float32)
    padded[:, :, :channels] = weight[:, 0].transpose(1, 2, 0)
    return [padded, _padded(bias, pitch)]
