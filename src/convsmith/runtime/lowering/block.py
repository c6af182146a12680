"""Blocks: what is run as one call of a kernel for a band of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from convsmith.arithmetic import Window
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Numbers
from convsmith.runtime.lowering.maps import Map

__all__ = ["Array", "Block", "Input", "Output"]

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
        virtual: whether nothing is run for it: other blocks write its map.
        border: the value that it reads beyond the ends of its first source.
        products: whether its sums over channels multiply bf16 by bf16.
        narrows: whether its kernel reads and writes maps of bf16, too.
    """

    name: str
    sources: list[Map]
    target: Map | None
    windows: tuple[Window, Window] = (_ONE, _ONE)
    layers: list[str] = field(default_factory=list)
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)
    products: bool = False

    exact: ClassVar[bool] = False
    virtual: ClassVar[bool] = False
    border: ClassVar[float] = 0.0
    narrows: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """What a profile calls its kernel."""
        return type(self).__name__.lower()

    @property
    def numbers(self) -> Numbers:
        """Which numbers of its kernel are bf16, after the maps that it reads and writes."""
        maps = self.sources[0] if self.sources else None, self.target
        source, target, residual = (
            some is not None and some.root.narrow
            for some in (*maps, getattr(self, "residual", None))
        )
        return Numbers(source, target, residual, self.products)

    @property
    def parts(self) -> Sequence[Block]:
        """Blocks of one kernel each that together are this one."""
        return [self]

    @property
    def gates(self) -> Sequence[Map]:
        """Sources of one pixel: a number for each channel."""
        return ()

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below the first source that it reads, pixels left and right."""
        return self.windows[0].padding, self.windows[1].padding

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and pixels it gives for those of its first source."""
        rows, columns = (w.output_length(n) for w, n in zip(self.windows, size, strict=True))
        return rows, columns

    def pixels(self, width: int) -> int:
        """Of a row of so many pixels of the target, how many this part writes."""
        return max(0, -(-(width - self.first[1]) // self.step[1]))

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of a source that rows `[start, stop)` need; beyond its height is padding."""
        return self.windows[0].input_range(start, stop) if which == 0 else (start, stop)

    def origin(self, row: int) -> tuple[int, int]:
        """Row and pixel of the first source where the window of a row's first pixel begins."""
        rows, columns = self.windows
        return rows.input_range(row, row)[0], -columns.padding[0]

    def reach(self, width: int, source: int) -> int:
        """Pixels of the first source, from `origin` on, that `width` pixels of a row need.

        Args:
            width: how many are computed.
            source: pixels of a row of the first source.
        """
        start, stop = self.windows[1].input_range(0, width)
        return stop - start

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
class Input(Block):
    """A tensor from outside becomes a map.

    Attributes:
        vectors: whether it is (N, C), and its rows become the pixels of one image.
    """

    vectors: bool = False

    label = "pack"
    exact = True
    narrows = True


@dataclass(eq=False)
class Output(Block):
    """A map becomes a tensor for outside."""

    label = "unpack"
    narrows = True
