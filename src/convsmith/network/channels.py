"""Channels of a tensor, and a set of them on its way through a layer.

Channels are numbered row-major over all dimensions of a tensor but the first and the spatial ones,
so that a shuffle of channels through five dimensions, or a map with its channels last, stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from convsmith.arithmetic import Box, Positions
from convsmith.network.shapes import Axes, Shape, flattened

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["Map", "Passage", "all_channels", "channel_dims", "numbers_of"]

_ONE = Positions.of([0])


def channel_dims(axes: Axes) -> list[int]:
    """The dimensions that channels are numbered over."""
    return [d for d, axis in enumerate(axes) if d and axis is None]


def all_channels(shape: Shape, axes: Axes) -> Positions:
    """The numbers of all channels of a tensor."""
    return Positions.range(0, prod(shape[d] for d in channel_dims(axes)))


def numbers_of(box: Box, shape: Shape, axes: Axes) -> Positions:
    """The numbers of the channels that a product of positions holds."""
    dims = channel_dims(axes)
    return flattened([box[d] for d in dims], [shape[d] for d in dims]) if dims else _ONE


class Map(NamedTuple):
    """The shape of a tensor, and which of its dimensions run along spatial axes."""

    shape: Shape
    axes: Axes

    @property
    def dims(self) -> list[int]:
        """The dimensions that its channels are numbered over."""
        return channel_dims(self.axes)

    @property
    def channels(self) -> Positions:
        """The numbers of all its channels."""
        return all_channels(self.shape, self.axes)


@dataclass(frozen=True, slots=True)
class Passage:
    """Some channels of an operand on their way through a layer.

    Attributes:
        layer: the layer.
        channels: some channels of its operand.
        operand: which operand.
        nth: which one of the parts that its rule for reading yields.
        result: which of its results.
        before: the operand.
        after: the result.
        in_place: whether each channel of the result reads the same channel alone.
    """

    layer: Layer
    channels: Positions
    operand: int
    nth: int
    result: int
    before: Map
    after: Map
    in_place: bool

    @property
    def complete(self) -> bool:
        """Whether these are all channels of the operand."""
        return self.channels == self.before.channels
