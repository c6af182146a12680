"""Pools onto a map of a given size, whatever that of the source is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.kernels.adaptive import Adaptive
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.mean import mean

__all__ = ["ADAPTIVE_POOL", "AdaptivePool"]


@dataclass(eq=False)
class AdaptivePool(Block):
    """Means or largest values of windows that cover the map, as many as are asked for.

    Attributes:
        output: rows and pixels of the result.
        largest: whether they are the largest values.
    """

    output: tuple[int, int] = (1, 1)
    largest: bool = False

    label = "adaptive pool"
    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size asked for."""
        return self.output

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of the windows."""
        rows = self.output[0]
        return start * height // rows, -(-stop * height // rows)

    def origin(self, row: int) -> tuple[int, int]:
        """The kernel finds its rows by itself."""
        return 0, 0

    def reach(self, width: int, source: int) -> int:
        """All."""
        return source

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Adaptive(self.largest)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the windows are."""
        return [row, *size, *self.output]


_NAMES = {"adaptive_avg_pool2d": False, "adaptive_maxima_pool2d": True}
"""The pools of maps, and whether each gives the largest values."""


def _refuse(layer: Layer, weights: Weights) -> str:
    if layer.operation.name not in _NAMES:
        return f"no kernel for {layer.operation.name}"
    size = layer.operation.settings.get("output_size") or ()
    return "" if all(type(n) is int for n in size) else "its size follows from the image"


def _lower(draft: Draft, layer: Layer) -> None:
    source, largest = draft.map(layer.inputs[0]), _NAMES[layer.operation.name]
    rows, columns = layer.shape[2:]
    if (rows, columns) == (1, 1) and not largest:
        draft.place(mean(draft, layer.name, source), layer.name)
        return
    target = Map(layer.name, source.channels)
    block = AdaptivePool(layer.name, [source], target, output=(rows, columns), largest=largest)
    draft.place(block, layer.name)


ADAPTIVE_POOL = Lowering(_refuse, _lower)
