"""Dense convolutions of three columns with fewer products, where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from convsmith.kernels.isa import BLOCK, Isa, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.winograd import POSITIONS, TAPS, Winograd
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import Convolution, padded, sums_by_tile

__all__ = ["Transformed", "transform"]


def transform(blocks: list[Block]) -> None:
    """Put transformed convolutions in the place of those where fewer products pay.

    Args:
        blocks: of a region, their numbers chosen; changed in place.
    """
    for number, block in enumerate(blocks):
        if type(block) is Convolution and _pays(block):
            blocks[number] = Transformed(**_settings(block))


def _pays(block: Convolution) -> bool:
    rows, columns = block.windows
    source, target = block.sources[0], block.target
    assert target is not None
    return (
        block.kind == "dense"
        and not block.numbers.word
        and (columns.kernel, columns.stride) == (TAPS, 1)
        and rows.dilation == columns.dilation == 1
        and source.channels % BLOCK == 0
        and min(source.channels, target.channels) >= _CHANNELS
    )


_CHANNELS = 32
"""With fewer the transform takes as long as the products that it saves, by trial."""


def _settings(block: Convolution) -> dict[str, Any]:
    return {field.name: vars(block)[field.name] for field in fields(Convolution)}


@dataclass(eq=False)
class Transformed(Convolution):
    """A dense convolution, by the transform where a row has an even number of pixels."""

    label = "winograd"

    @cached_property
    def parts(self) -> Sequence[Block]:
        """For rows of an even number of pixels, and for others: one of them has something to do."""
        return [_Even(**_settings(self)), _Odd(**_settings(self))]


class _Odd(Convolution):
    def pixels(self, width: int) -> int:
        """All pixels of a row that is not transformed."""
        return width if width % 2 else 0


class _Even(Convolution):
    def pixels(self, width: int) -> int:
        """All pixels of a row that is transformed."""
        return 0 if width % 2 else width

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel for rows of `width` pixels."""
        tile, panel, rows = self._tile(isa), self._panel(isa), self.windows[0]
        most = min(_PAIRS, *(max(pixels) for channels, pixels in isa.tiles if channels == tile))
        held = 2 * width * POSITIONS * self.sources[0].channels
        lines = next((n for n in _LINES if (n + rows.kernel - 1) * held <= _BYTES), _LINES[-1])
        return Winograd(
            tile, 2 * fit(range(most, 0, -1), width // 2), rows.kernel, rows.stride, lines,
            self.epilogue, panel=panel,
        )  # fmt: skip

    def constants(self, isa: Isa) -> list[Array]:
        """Weights as the kernel takes them."""
        assert self.target is not None
        pitch, weight = self.target.pitch, np.stack(_four(self.weight.astype(np.float64)), axis=2)
        lines = [padded(values, pitch) for values in (self.bias, self.slope) if values is not None]
        return [sums_by_tile(weight, pitch, self._panel(isa)), *lines]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Numbers and weights."""
        blocks = self.sources[0].channels // BLOCK
        near = max(n for n in range(1, _NEAR + 1) if blocks % n == 0)
        own = [None] * (2 if self.slope is None else 3)  # weight, bias, slopes
        return [self.size(size)[1], near, blocks // near, *own]


_PAIRS = 8
"""Of pixels in a tile, at most: beside more sums there is no room for the weights."""

_LINES, _BYTES = (16, 8, 4), 1536 * 1024
"""Rows whose transformed inputs are held at once, and the most bytes of these, by trial."""

_NEAR = 16
"""Blocks of inputs that are summed by themselves, at most, for the error of long sums."""


def _four(weight: Array) -> list[Array]:
    """The weights (out, in, rows) of the four products, from those of the taps of each row."""
    first, second, third = (weight[..., tap] for tap in range(TAPS))
    ends = first + third
    return [first, (ends + second) / 2, (ends - second) / 2, third]
