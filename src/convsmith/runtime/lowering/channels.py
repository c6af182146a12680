"""Channels cut out of a map, interleaved, or summed along a window; slices of any axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from convsmith.kernels.isa import BLOCK, Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import AlongChannels, Shuffle
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.concat import Copied, Joined
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import Lowering, Weights
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.strided import lower_stride, stride_of

__all__ = [
    "CHANNEL_SHUFFLE", "SLICE", "Shuffled", "WindowedChannels", "lower_channel_convolution"
]  # fmt: skip


@dataclass(eq=False)
class Shuffled(Block):
    """Channels of several groups, the first of each group first."""

    groups: int = 1

    exact = True
    narrows = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Shuffle(self.groups)

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels of a group."""
        return [self.sources[0].channels // self.groups]


@dataclass(eq=False)
class WindowedChannels(Block):
    """A convolution over the channels of each pixel, as ECA has it."""

    weight: Array = field(default_factory=lambda: np.empty(0))
    bias: float = 0.0

    exact = True

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return AlongChannels(len(self.weight))

    def constants(self, isa: Isa) -> list[Array]:
        """The window."""
        return [self.weight.astype(np.float32)]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The channels there are, what is added, and the window."""
        return [self.sources[0].channels, self.bias, None]


def lower_channel_convolution(draft: Draft, layer: Layer) -> None:
    """Add the block of a convolution over channels."""
    values, source = draft.parameters(layer), draft.map(layer.inputs[0])
    bias = float(values["bias"].item()) if "bias" in values else 0.0
    block = WindowedChannels(
        layer.name,
        [source],
        Map(layer.name, source.channels, pixel=source.pixel),
        weight=values["weight"].reshape(-1),
        bias=bias,
    )
    draft.place(block, layer.name)


def _refuse_slice(layer: Layer, weights: Weights) -> str:
    if stride_of(layer) is not None:
        return ""
    channels = _range(layer)
    if channels is None or len(channels) != layer.shape[1]:
        return "it leaves out what is in between, or more at some sizes than at others"
    return ""


def _range(layer: Layer) -> range | None:
    """The channels that a slice takes, all pixels of each; None for another cut."""
    settings, before = layer.operation.settings, layer.operands[0].shape
    if layer.operation.name not in ("slice", "narrow") or len(before) != 4:
        return None
    if settings.get("dim", 0) not in (1, -3) or settings.get("step", 1) != 1:
        return None
    if layer.operation.name == "narrow":
        start = settings["start"] % before[1]
        return range(start, start + settings["length"])
    return range(before[1])[settings.get("start") : settings.get("end")]


def _lower_slice(draft: Draft, layer: Layer) -> None:
    source, channels = draft.map(layer.inputs[0]), _range(layer)
    if stride_of(layer) is not None:
        lower_stride(draft, layer)
        return
    assert channels is not None
    part = Map(layer.name, len(channels), pixel=source.pixel)
    if len(channels) % BLOCK == 0 == channels.start % BLOCK:
        part.join(source, channels.start)
        draft.place(Joined(layer.name, [source], part), layer.name)
        return
    view = Map(f"{layer.name} source", len(channels), pixel=source.pixel)
    view.join(source, channels.start)
    draft.place(Copied(layer.name, [view], part), layer.name)


def _refuse_shuffle(layer: Layer, weights: Weights) -> str:
    return "" if isinstance(layer.operation.settings.get("groups"), int) else "its groups are free"


def _lower_shuffle(draft: Draft, layer: Layer) -> None:
    source = draft.map(layer.inputs[0])
    target = Map(layer.name, source.channels, pixel=source.pixel)
    groups = int(layer.operation.settings["groups"])
    draft.place(Shuffled(layer.name, [source], target, groups=groups), layer.name)


SLICE = Lowering(_refuse_slice, _lower_slice)
CHANNEL_SHUFFLE = Lowering(_refuse_shuffle, _lower_shuffle)
