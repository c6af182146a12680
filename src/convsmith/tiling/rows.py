"""Rows of an image, read some at a time as a stream asks for them."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convsmith.tiling.parts import SLAB
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.spans import Span
from convsmith.tiling.stores.source import Source

__all__ = ["RowReader"]


class RowReader:
    """Feeds the rows of a part of an image, prepared for the network.

    They are read in slabs of whole blocks of the store, so that a block is decoded once.
    """

    def __init__(
        self, source: Source, prepare: Prepare, image: int, rows: Span, columns: Span
    ) -> None:
        self.source, self.prepare, self.image = source, prepare, image
        self.rows, self.columns = rows, columns
        self._held: NDArray[Any] | None = None
        self._span = (rows[0], rows[0])

    def __call__(self, start: int, stop: int, out: Tensor) -> None:
        """Write rows `[start, stop)` of the part; none of them was asked for before."""
        first = self.rows[0]
        row = start
        while row < stop:
            if first + row >= self._span[1]:
                self._read()
            assert self._held is not None
            begin, end = self._span
            last = min(stop, end - first)
            part = self._held[:, first + row - begin : first + last - begin]
            out[:, row - start : last - start] = self.prepare(part, torch.float32, order="K")[0]
            row = last

    def _read(self) -> None:
        start, block = self._span[1], self.source.rows
        stop = min(-(-(start + SLAB) // block) * block, self.rows[1])
        self._held = None  # before the next is read
        self._held = self.source.read(self.image, ((start, stop), self.columns))
        self._span = (start, stop)
