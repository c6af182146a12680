"""Layers one after another: a separable convolution, or any stack that sees further together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convsmith.arithmetic.normalise import Size
from convsmith.arithmetic.pool import Pool
from convsmith.arithmetic.positions import Positions
from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.arithmetic.convolution import Conv
    from convsmith.arithmetic.transposed import ConvTranspose

__all__ = ["Chain"]


@dataclass(frozen=True, init=False, repr=False)
class Chain:
    """The given layers in sequence; costs add up, sizes and receptive fields compose.

    >>> from convsmith.arithmetic import Conv
    >>> two = Chain(Conv(1, 1, 3), Conv(1, 1, 3))
    >>> two.output_size(7), two.receptive_field(axis=0)
    ((3, 3), Positions(0 … 4))
    """

    layers: tuple[Conv | ConvTranspose | Pool, ...]

    def __init__(self, *layers: Conv | ConvTranspose | Pool) -> None:
        if not layers or len({layer.dims for layer in layers}) > 1:
            raise ArgumentError(f"a chain needs layers of one dimension, not {list(layers)!r}")
        _check_channels(layers)
        object.__setattr__(self, "layers", layers)

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return self.layers[0].dims

    @property
    def params(self) -> int:
        """Parameters of all layers."""
        return sum(layer.params for layer in self.layers)

    def output_size(self, input_size: Size) -> tuple[int, ...]:
        """The spatial size after the last layer."""
        return self.sizes(input_size)[-1]

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The whole shape after the last layer; channels are checked on the way."""
        shape = tuple(input_shape)
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def macs(self, input_size: Size, batch: int = 1) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.macs(size, batch) for layer, size in self._steps(input_size))

    def sizes(self, input_size: Size) -> list[tuple[int, ...]]:
        """The spatial size after each layer."""
        return [layer.output_size(size) for layer, size in self._steps(input_size)]

    def reads(self, axis: int, outputs: Positions) -> Positions:
        """Exactly the input positions along `axis` that the given outputs depend on."""
        for layer in reversed(self.layers):
            outputs = layer.reads(axis, outputs)
        return outputs

    def receptive_field(self, axis: int = 0) -> Positions:
        """What output 0 reads along `axis`, on an unbounded map.

        >>> from convsmith.arithmetic import Conv
        >>> Chain(*[Conv(1, 1, 3, dilation=2)] * 3).receptive_field()
        Positions({0, 2, 4, 6, 8, 10, 12})
        """
        return self.reads(axis, Positions.of([0]))

    def _steps(self, input_size: Size) -> Iterator[tuple[Conv | ConvTranspose | Pool, Size]]:
        size = input_size
        for layer in self.layers:
            yield layer, size
            size = layer.output_size(size)

    def __iter__(self) -> Iterator[Conv | ConvTranspose | Pool]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.layers))})"


def _check_channels(layers: Sequence[Conv | ConvTranspose | Pool]) -> None:
    """Refuse layers of which one gives other channels than the next takes; a pool takes any."""
    before: Conv | ConvTranspose | None = None
    for layer in layers:
        if isinstance(layer, Pool):
            continue
        if before is not None and before.out_channels != layer.in_channels:
            raise ArgumentError(
                f"a chain needs channels that match: {before!r} gives {before.out_channels}, "
                f"{layer!r} takes {layer.in_channels}"
            )
        before = layer
