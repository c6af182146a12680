"""Means and largest values: of the whole map, as global pools make them, and of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.largest import ChannelMax, RowMax
from convsmith.kernels.rows import RowSum
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["ADAPTIVE_POOL", "REDUCTION", "Largest", "LargestChannel", "Mean", "mean"]


@dataclass(eq=False)
class Mean(Block):
    """One of the two sums that make a mean over the map: of rows, or of the sums of rows.

    With a second source, of rows, the mean is that of the squares of the values less its one pixel.
    """

    of_rows: bool = False

    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """One value per row; or one in all."""
        return (size[0], 1) if self.of_rows else (1, 1)

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The same row, or all."""
        if which > 0:
            return 0, 1
        return (start, stop) if self.of_rows else (0, height)

    @property
    def gates(self) -> Sequence[Map]:
        """What is subtracted."""
        return self.sources[1:]

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return RowSum(squares=len(self.sources) > 1)

    def ends(self, length: int) -> tuple[int | float, ...]:
        """The kernel's last arguments: how many values there are, and the factor of sums."""
        return length, 1 / length


@dataclass(eq=False)
class Largest(Mean):
    """The same of largest values: of rows, or of those of rows."""

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return RowMax()

    def ends(self, length: int) -> tuple[int | float, ...]:
        """How many values there are."""
        return (length,)


@dataclass(eq=False)
class LargestChannel(Block):
    """The largest channel of each pixel."""

    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ChannelMax()

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are."""
        return [self.sources[0].channels]


def _refuse_adaptive_pool(layer: Layer, weights: Weights) -> str:
    if "avg" not in layer.operation.name:
        return f"no kernel for {layer.operation.name}"
    return "" if layer.shape[2:] == (1, 1) else "windows of unequal size"


def _refuse_reduction(layer: Layer, weights: Weights) -> str:
    over, keeps = _over(layer), layer.operation.settings.get("keepdim")
    name, before = layer.operation.name, layer.operands[0].shape
    if name not in ("amax", "mean") or over not in ([1], [2, 3]) or len(before) != 4:
        return f"no kernel for {name} over other than the map or its channels"
    return "" if over == [2, 3] or keeps else "it leaves the channels out"


def _over(layer: Layer) -> list[int]:
    """The axes of a map that a reduction goes over."""
    dims = layer.operation.settings.get("dim") or ()
    return sorted(d % 4 for d in dims) if isinstance(dims, (list, tuple)) else []


def _lower(draft: Draft, layer: Layer) -> None:
    source, largest = draft.map(layer.inputs[0]), layer.operation.name == "amax"
    if _over(layer) != [1]:
        kind = Largest if largest else Mean
        draft.place(mean(draft, layer.name, source, kind=kind), layer.name)
        return
    target = Map(layer.name, 1, pixel=source.pixel)
    if largest:
        draft.place(LargestChannel(layer.name, [source], target), layer.name)
        return
    weight = np.full((1, source.channels, 1, 1), 1 / source.channels)
    block = Convolution(layer.name, [source], target, weight=weight, bias=np.zeros(1))
    draft.place(block, layer.name)


def mean(draft: Draft, name: str, *sources: Map, kind: type[Mean] = Mean) -> Mean:
    """The last of the blocks of a mean over the map, or over squares; those before are added."""
    channels = sources[0].channels
    rows = Map(f"{name} rows", channels)
    draft.order.append(kind(rows.name, list(sources), rows, of_rows=True))
    return kind(name, [rows], Map(name, channels, pixel=True))


ADAPTIVE_POOL = Lowering(_refuse_adaptive_pool, _lower)
REDUCTION = Lowering(_refuse_reduction, _lower)
