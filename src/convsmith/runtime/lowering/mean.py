"""Means over the whole map, as global average pools and reductions make them."""

from __future__ import annotations

from dataclasses import dataclass

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import RowSum
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["ADAPTIVE_POOL", "REDUCTION", "Mean"]


@dataclass(eq=False)
class Mean(Block):
    """One of the two sums that make a mean over the map: of rows, or of the sums of rows."""

    of_rows: bool = False

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """One value per row; or one in all."""
        return (size[0], 1) if self.of_rows else (1, 1)

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The same row, or all."""
        return (start, stop) if self.of_rows else (0, height)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return RowSum()


def _refuse_adaptive_pool(layer: Layer, weights: Weights) -> str:
    if "avg" not in layer.operation.name:
        return f"no kernel for {layer.operation.name}"
    return "" if layer.shape[2:] == (1, 1) else "windows of unequal size"


def _refuse_reduction(layer: Layer, weights: Weights) -> str:
    settings = layer.operation.settings
    dims = settings.get("dim") or ()
    over = sorted(d % 4 for d in dims) if isinstance(dims, (list, tuple)) else []
    return "" if layer.operation.name == "mean" and over == [2, 3] else "not a mean over the map"


def _lower(draft: Draft, layer: Layer) -> None:
    channels = layer.shape[1]
    rows = Map(f"{layer.name} rows", channels)
    source = draft.map(layer.inputs[0])
    draft.order.append(Mean(rows.name, [source], rows, of_rows=True))
    draft.place(Mean(layer.name, [rows], Map(layer.name, channels, pixel=True)), layer.name)


ADAPTIVE_POOL = Lowering(_refuse_adaptive_pool, _lower)
REDUCTION = Lowering(_refuse_reduction, _lower)
