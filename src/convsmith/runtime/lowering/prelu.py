"""Leaky ReLUs whose slopes are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.prelu import PReLU
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import padded
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.maps import Map

__all__ = ["Sloped", "lower_prelu"]


@dataclass(eq=False)
class Sloped(Block):
    """What is below zero times a number for each channel."""

    slope: Array = field(default_factory=lambda: np.empty(0))

    label = "prelu"
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return PReLU()

    def constants(self, isa: Isa) -> list[Array]:
        """The slopes."""
        assert self.target is not None
        return [padded(self.slope, self.target.pitch)]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The slopes."""
        return [None]


def lower_prelu(draft: Draft, layer: Layer) -> None:
    """Add the block of a layer whose slopes are one number, or one for each channel."""
    source, channels = draft.map(layer.inputs[0]), layer.shape[1]
    slope = draft.parameters(layer)["weight"].reshape(-1) * np.ones(channels)
    target = Map(layer.name, channels, pixel=source.pixel)
    draft.place(Sloped(layer.name, [source], target, slope=slope), layer.name)
