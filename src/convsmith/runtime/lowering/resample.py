"""Upsampling by nearest, bilinear or bicubic interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.resample import Upsample
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["UPSAMPLE", "Upsampled"]

_MODES = {
    "upsample_nearest2d": "nearest",
    "_upsample_nearest_exact2d": "nearest-exact",
    "upsample_bicubic2d": "bicubic",
    "upsample_bilinear2d": "bilinear",
}


_TAPS = {"bilinear": 2, "bicubic": 4}


@dataclass(eq=False)
class Upsampled(Block):
    """Nearest, bilinear or bicubic interpolation, with PyTorch's own arithmetic for the places.

    Attributes:
        output: rows and pixels of the result, where they are given.
        factors: where they follow from the source's.
        mode: `nearest`, `nearest-exact`, `bilinear` or `bicubic`, or one of these with `:corners`.
    """

    output: tuple[int, int] | None = None
    factors: tuple[float, float] | None = None
    mode: str = "nearest"

    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size asked for, or the source's times the factors, rounded down."""
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
        if self.mode.endswith(":corners"):
            return float(np.float32(length - 1) / np.float32(outputs - 1)) if outputs > 1 else 0.0
        if self.mode == "nearest" and outputs == 2 * length:
            return 0.5
        if self.factors is not None:
            return float(np.float32(1 / self.factors[axis]))
        return float(np.float32(length) / np.float32(outputs))

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows that the band lies between, or two at each side, and one for rounding."""
        scale, (before, after) = self.scale(0, height), self._offsets
        low, high = (int(scale * (row + before) - after) for row in (start, stop - 1))
        more = self.mode.startswith("bicubic")
        return max(0, min(low, height) - 1 - more), min(height, high + 3 + more)

    def origin(self, row: int) -> tuple[int, int]:
        """The kernel finds its rows by itself."""
        return 0, 0

    def reach(self, width: int, source: int) -> int:
        """All."""
        return source

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Upsample(_TAPS.get(self.mode.partition(":")[0], 1))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the places are."""
        scales = (self.scale(axis, length) for axis, length in enumerate(size))
        return [row, *size, *scales, *self._offsets]

    @property
    def _offsets(self) -> tuple[float, float]:
        centred = {"nearest-exact": (0.5, 0.0), "bilinear": (0.5, 0.5), "bicubic": (0.5, 0.5)}
        return centred.get(self.mode, (0.0, 0.0))


def _refuse(layer: Layer, weights: Weights) -> str:
    return "" if layer.operation.name in _MODES else f"no kernel for {layer.operation.name}"


def _lower(draft: Draft, layer: Layer) -> None:
    settings = layer.operation.settings
    size, factors = settings.get("output_size"), settings.get("scale_factors")
    block = Upsampled(
        layer.name,
        [draft.map(layer.inputs[0])],
        Map(layer.name, layer.shape[1]),
        output=tuple(size) if size else None,
        factors=tuple(factors) if factors else None,
        mode=_MODES[layer.operation.name] + ":corners" * bool(settings.get("align_corners")),
    )
    draft.place(block, layer.name)


UPSAMPLE = Lowering(_refuse, _lower)
