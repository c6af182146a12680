"""Softmax over the channels of each pixel, and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.kernels.isa import Isa, fit
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.softmax import ChannelSoftmax
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["SOFTMAX", "Shares"]


_PIXELS = (8, 4, 2, 1)
"""Computed at once: the sums of so many are divided, or their logarithms taken, as one vector."""

_REGISTERS = 24
"""Vectors that are computed at once for them."""

_FEW = 4
"""Vectors up to which shorter ones are taken where they leave fewer lanes empty."""

_KEPT = 64
"""Vectors of channels whose exponentials are kept between their sum and the quotient."""


@dataclass(eq=False)
class Shares(Block):
    """The channels of each pixel as shares of the sum of their exponentials.

    Attributes:
        logarithm: whether they are the logarithms of that.
    """

    logarithm: bool = False

    label = "softmax"
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        channels = self.sources[0].channels
        lanes = isa.lanes
        while lanes > 4 and _filled(channels, lanes // 2) < _filled(channels, lanes):
            if channels > _FEW * lanes // 2:
                break
            lanes //= 2
        vectors = _filled(channels, lanes) // lanes
        pixels = fit([n for n in _PIXELS if n == 1 or n * vectors <= _REGISTERS], width)
        return ChannelSoftmax(pixels, lanes, self.logarithm, vectors if vectors <= _KEPT else 0)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are."""
        return [self.sources[0].channels]


def _filled(channels: int, lanes: int) -> int:
    """The lanes of all vectors that so many channels need."""
    return -(-channels // lanes) * lanes


def _refuse(layer: Layer, weights: Weights) -> str:
    dim, axes = layer.operation.settings.get("dim"), len(layer.shape)
    over_channels = type(dim) is int and dim % axes == 1
    return "" if over_channels else f"{layer.operation.name} over other than the channels"


def _lower(draft: Draft, layer: Layer) -> None:
    source = draft.map(layer.inputs[0])
    target = Map(layer.name, source.channels, pixel=source.pixel)
    logarithm = "log" in layer.operation.name
    draft.place(Shares(layer.name, [source], target, logarithm=logarithm), layer.name)


SOFTMAX = Lowering(_refuse, _lower, vectors=True)
