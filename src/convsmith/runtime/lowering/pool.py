"""Pools: maxima and means of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from convsmith.arithmetic import Pool, Window
from convsmith.kernels.isa import Isa, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.largest import HalfMaxPool
from convsmith.kernels.resample import MANY, Average
from convsmith.kernels.rows import MaxPool
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.concat import Copied, Joined
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["POOL", "AveragePool", "LargestPool"]

_FEW = (4, 2, 1)
"""Pixels that are compared at once."""


@dataclass(eq=False)
class LargestPool(Block):
    """The largest value of each window."""

    label = "pool"
    narrows = True
    border: ClassVar[float] = -np.inf

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        rows, columns = self.windows
        window = (rows.kernel, columns.kernel), (rows.stride, columns.stride)
        numbers = self.numbers
        if not (numbers.source and numbers.target):
            return MaxPool(*window, fit(_FEW, width))
        assert self.target is not None
        return HalfMaxPool(
            *window, 2 * isa.lanes if self.target.pitch % (2 * isa.lanes) == 0 else isa.lanes
        )

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Dilation."""
        return [window.dilation for window in self.windows]


@dataclass(eq=False)
class AveragePool(Block):
    """The mean of the values of each window that are not padding."""

    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        rows, columns = self.windows
        return Average((rows.kernel, columns.kernel), (rows.stride, columns.stride))

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the padding is."""
        return [row, *size, *(window.padding[0] for window in self.windows)]


def _refuse(layer: Layer, weights: Weights) -> str:
    pool = layer.operation.arithmetic
    if not isinstance(pool, Pool) or pool.dims != 2:
        return "a pool that is not two-dimensional"
    if pool.ceil_mode and any(window.extent <= _further(window) for window in pool.windows):
        return "a pool whose last window may begin beyond the map"
    if pool.kind == "max" and layer.operation.name != "max_pool2d":
        return "its indices are used, too"
    if pool.kind != "max" and _padded(pool) and pool.count_include_pad:
        if pool.taps > MANY:
            return "a large window that counts its padding"
        if pool.ceil_mode:
            return "a pool that counts some of its padding"
    return ""


def _lower(draft: Draft, layer: Layer) -> None:
    pool = layer.operation.arithmetic
    assert isinstance(pool, Pool)
    rows, columns = map(_rounded_up, pool.windows) if pool.ceil_mode else pool.windows
    target = Map(layer.name, layer.shape[1])
    source = draft.map(layer.inputs[0])
    windows = (rows, columns)
    padded = any(map(any, (window.padding for window in windows)))
    if pool.kind == "max":
        shared = isinstance(draft.made[layer.inputs[0]], Joined)
        if padded and (shared or not draft.alone(layer.inputs[0])):
            # Its borders are -infinity, which would be wrong for other readers.
            copy = Map(source.name, source.channels)
            draft.order.append(Copied(f"{layer.name} source", [source], copy))
            source = copy
        block: Block = LargestPool(layer.name, [source], target, windows)
    elif pool.taps > MANY or (padded and (pool.ceil_mode or not pool.count_include_pad)):
        block = AveragePool(layer.name, [source], target, windows)
    else:
        weight = np.full((layer.shape[1], 1, *pool.kernel_size), 1 / pool.taps)
        block = Convolution(
            layer.name, [source], target, windows, weight=weight,
            bias=np.zeros(layer.shape[1]), groups=max(2, layer.shape[1]),
        )  # fmt: skip
    draft.place(block, layer.name)


def _padded(pool: Pool) -> bool:
    return any(map(any, pool.padding))


def _further(window: Window) -> int:
    """The padding at the far end with which a size that is rounded down is the one rounded up."""
    return window.padding[1] + window.stride - 1


def _rounded_up(window: Window) -> Window:
    padding = (window.padding[0], _further(window))
    return Window(window.kernel, window.stride, padding, window.dilation)


POOL = Lowering(_refuse, _lower)
