"""Blocks: what is run as one call of a kernel for a band of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from convsmith.arithmetic import Window
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Epilogue
from convsmith.kernels.resample import Average, Upsample
from convsmith.kernels.rows import Copy, MaxPool, RowSum, Scale
from convsmith.runtime.lowering.maps import Map

__all__ = [
    "AveragePool", "Block", "Copied", "Input", "Mean", "Output", "Pool", "Scaled", "Upsampled",
]  # fmt: skip

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
        first, step: the rows and pixels of the target that a part of a block writes.
        exact: whether it writes no channels beyond the target's.
    """

    name: str
    sources: list[Map]
    target: Map | None
    windows: tuple[Window, Window] = (_ONE, _ONE)
    layers: list[str] = field(default_factory=list)
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)

    exact: ClassVar[bool] = False

    @property
    def parts(self) -> Sequence[Block]:
        """Blocks of one kernel each that together are this one."""
        return [self]

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below the first source that it reads, pixels left and right."""
        return self.windows[0].padding, self.windows[1].padding

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and pixels it gives for those of its first source."""
        rows, columns = (w.output_length(n) for w, n in zip(self.windows, size, strict=True))
        return rows, columns

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of a source that rows `[start, stop)` need; beyond its height is padding."""
        return self.windows[0].input_range(start, stop) if which == 0 else (start, stop)

    def origin(self, row: int) -> tuple[int, int]:
        """Row and pixel of the first source where the window of a row's first pixel begins."""
        rows, columns = self.windows
        return rows.input_range(row, row)[0], -columns.padding[0]

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        raise NotImplementedError

    def constants(self, isa: Isa) -> list[Array]:
        """Weights as the kernel takes them."""
        return []

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The kernel's arguments after the first source, None for the next of the `constants`.

        Args:
            row: the first one computed.
            size: rows and pixels of the first source.
        """
        return ()

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-adds for an output of this size."""
        return 0


@dataclass(eq=False)
class Pool(Block):
    """The largest value of each window."""

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        rows, columns = self.windows
        return MaxPool((rows.kernel, columns.kernel), (rows.stride, columns.stride))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Dilation."""
        return [window.dilation for window in self.windows]


@dataclass(eq=False)
class AveragePool(Block):
    """The mean of the values of each window that are no padding."""

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        rows, columns = self.windows
        return Average((rows.kernel, columns.kernel), (rows.stride, columns.stride))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the padding is."""
        return [row, *size, *(window.padding[0] for window in self.windows)]


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
class Copied(Block):
    """The values of a map, as channels of a concatenation or with zeros around them."""

    exact = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Copy()


@dataclass(eq=False)
class Upsampled(Block):
    """Nearest or bilinear interpolation, with PyTorch's own arithmetic for the places.

    Attributes:
        output: rows and pixels of the result, where they are given.
        factors: where they follow from the source's.
        mode: `nearest`, `nearest-exact`, `bilinear` or `bilinear:corners`.
    """

    output: tuple[int, int] | None = None
    factors: tuple[float, float] | None = None
    mode: str = "nearest"

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size wanted, or the source's times the factors, rounded down."""
        if self.output is not None:
            return self.output
        assert self.factors is not None
        rows, columns = (int(n * f) for n, f in zip(size, self.factors, strict=True))
        return rows, columns

    def scale(self, axis: int, length: int) -> float:
        """Source positions a step of the output, as a float32."""
        outputs = self.size((length, length))[axis]
        if outputs == length:
            return 1.0
        if self.mode == "bilinear:corners":
            return float(np.float32(length - 1) / np.float32(outputs - 1)) if outputs > 1 else 0.0
        if self.mode == "nearest" and outputs == 2 * length:
            return 0.5
        if self.factors is not None:
            return float(np.float32(1 / self.factors[axis]))
        return float(np.float32(length) / np.float32(outputs))

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows between which the band lies, one more for the rounding of places."""
        scale, (before, after) = self.scale(0, height), self._offsets
        low, high = (int(scale * (row + before) - after) for row in (start, stop - 1))
        return max(0, min(low, height) - 1), min(height, high + 3)

    def origin(self, row: int) -> tuple[int, int]:
        """The kernel finds its rows by itself."""
        return 0, 0

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Upsample(self.mode.startswith("bilinear"))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the places are."""
        scales = (self.scale(axis, length) for axis, length in enumerate(size))
        return [row, *size, *scales, *self._offsets]

    @property
    def _offsets(self) -> tuple[float, float]:
        return {"nearest-exact": (0.5, 0.0), "bilinear": (0.5, 0.5)}.get(self.mode, (0.0, 0.0))


@dataclass(eq=False)
class Input(Block):
    """A tensor from outside becomes a map.

    Attributes:
        vectors: whether it is (N, C), and its rows become the pixels of one image.
    """

    vectors: bool = False

    exact = True


@dataclass(eq=False)
class Output(Block):
    """A map becomes a tensor for outside."""
