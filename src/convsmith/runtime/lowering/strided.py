"""Slices of rows or pixels: without the outer ones, or every few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.errors import ArgumentError
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import Strided
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.maps import Map

__all__ = ["EveryFew", "Stride", "lower_stride", "stride_of"]


@dataclass(frozen=True)
class Stride:
    """Of one axis: how many places are left out at its two ends, and the step between others.

    >>> Stride(1, 0, 2).length(8), Stride(0, 0, 2).then(Stride(1, 0, 2))
    (4, Stride(low=2, high=0, step=4))
    """

    low: int = 0
    high: int = 0
    step: int = 1

    def length(self, places: int) -> int:
        """How many of so many places are left."""
        return -(-(places - self.low - self.high) // self.step)

    def then(self, other: Stride) -> Stride | None:
        """The same as both, one after the other; None where that depends on the length."""
        if other.high and self.step > 1:
            return None
        low, high = self.low + self.step * other.low, self.high + other.high
        return Stride(low, high, self.step * other.step)


@dataclass(eq=False)
class EveryFew(Block):
    """A map without its outer rows and pixels, or every few of those that are left.

    Attributes:
        strides: of rows and of columns.
    """

    strides: tuple[Stride, Stride] = (Stride(), Stride())

    label = "slice"
    exact = True
    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """What is left.

        Raises:
            ArgumentError: for a map of which nothing is.
        """
        rows, columns = (s.length(n) for s, n in zip(self.strides, size, strict=True))
        if min(rows, columns) < 1:
            raise ArgumentError(f"{self.name} leaves nothing of a map of {size[0]}×{size[1]}")
        return rows, columns

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """From the first of the rows to the last."""
        first, last = (self.origin(row)[0] for row in (start, stop - 1))
        return first, last + 1

    def origin(self, row: int) -> tuple[int, int]:
        """Where the first pixel of a row is taken from."""
        rows, columns = self.strides
        return rows.low + row * rows.step, columns.low

    def reach(self, width: int, source: int) -> int:
        """From the first pixel to the last."""
        return (width - 1) * self.strides[1].step + 1

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Strided()

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The steps of rows and pixels."""
        return [stride.step for stride in self.strides]


def stride_of(layer: Layer) -> tuple[Stride, Stride] | None:
    """The rows and columns that a slice leaves, the same ones at every size; None if not so."""
    settings, before = layer.operation.settings, layer.operands[0].shape
    if layer.operation.name != "slice" or len(before) != 4:
        return None
    axis, step = settings.get("dim", 0), settings.get("step", 1)
    start, end = settings.get("start") or 0, settings.get("end")
    end = _OPEN if end is None else end
    if not all(type(value) is int for value in (axis, start, end, step)):
        return None
    if axis % 4 < 2 or start < 0 or 0 <= end < _OPEN:
        return None
    stride = Stride(start, -end if end < 0 else 0, step)
    return (stride, Stride()) if axis % 4 == 2 else (Stride(), stride)


_OPEN = 2**31
"""Ends that no map reaches: a slice to the end of an axis has a larger one still."""


def lower_stride(draft: Draft, layer: Layer) -> None:
    """Add the block of a slice of rows or pixels; that of another slice, before it, takes it in."""
    strides, name = stride_of(layer), layer.inputs[0]
    assert strides is not None
    before = draft.made[name]
    if isinstance(before, EveryFew) and draft.alone(name):
        both = [one.then(other) for one, other in zip(before.strides, strides, strict=True)]
        rows, columns = both
        if rows is not None and columns is not None:
            before.strides = rows, columns
            draft.extend(layer, before)
            return
    source = draft.map(name)
    target = Map(layer.name, source.channels)
    draft.place(EveryFew(layer.name, [source], target, strides=strides), layer.name)
