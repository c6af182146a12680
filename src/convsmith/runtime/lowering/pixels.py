"""Channels that become pixels, and pixels that become channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.arithmetic import Window
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pixels import ToChannels, ToPixels
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map

__all__ = ["PIXEL_SHUFFLE", "PIXEL_UNSHUFFLE", "InChannels", "InPixels"]


@dataclass(eq=False)
class InPixels(Block):
    """Channels moved to pixels, as sub-pixel convolutions end (arXiv:1609.05158)."""

    factor: int = 1

    label = "pixel shuffle"
    exact = True
    narrows = True

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The factor times the source's."""
        return size[0] * self.factor, size[1] * self.factor

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of whose squares the band has a part."""
        return start // self.factor, -(-stop // self.factor)

    def origin(self, row: int) -> tuple[int, int]:
        """The pixel whose square a row begins in."""
        return row // self.factor, 0

    def reach(self, width: int, source: int) -> int:
        """As many as there are squares."""
        return -(-width // self.factor)

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ToPixels(self.factor)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """Where the row lies in its squares."""
        return [row % self.factor]


@dataclass(eq=False)
class InChannels(Block):
    """Pixels moved to channels, which its windows are cut into."""

    label = "pixel unshuffle"
    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return ToChannels(self.windows[0].kernel)


def _refuse(layer: Layer, weights: Weights) -> str:
    return "" if isinstance(_factor(layer), int) else "its factor is free"


def _factor(layer: Layer) -> int:
    settings = layer.operation.settings
    factor: int = settings.get("upscale_factor", settings.get("downscale_factor"))
    return factor


def _lower_shuffle(draft: Draft, layer: Layer) -> None:
    source, target = draft.map(layer.inputs[0]), Map(layer.name, layer.shape[1])
    draft.place(InPixels(layer.name, [source], target, factor=_factor(layer)), layer.name)


def _lower_unshuffle(draft: Draft, layer: Layer) -> None:
    source, target = draft.map(layer.inputs[0]), Map(layer.name, layer.shape[1])
    window = Window(_factor(layer), _factor(layer))
    draft.place(InChannels(layer.name, [source], target, (window, window)), layer.name)


PIXEL_SHUFFLE = Lowering(_refuse, _lower_shuffle)
PIXEL_UNSHUFFLE = Lowering(_refuse, _lower_unshuffle)
