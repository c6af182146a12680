"""A draft: the blocks of a region while they are made, layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from convsmith.network import Layer, Network
from convsmith.runtime.lowering.block import Array, Block, Input
from convsmith.runtime.lowering.maps import Map

__all__ = ["Draft"]


class Draft:
    """Blocks in order of execution, and what is known of the layers they compute.

    Attributes:
        network: the network.
        inside: the names of the region's layers.
        outputs: those whose values are used outside.
        weights: the parameters of each layer.
        made: for each layer so far, the block that gives its value.
        pads: for a layer that only pads, the rows and columns that its readers are to add.
        order: the blocks.
    """

    def __init__(
        self,
        network: Network,
        inside: Collection[str],
        outputs: Collection[str],
        weights: Mapping[str, Mapping[str, Tensor]],
    ) -> None:
        self.network, self.inside, self.outputs = network, set(inside), list(outputs)
        self.weights = weights
        self.made: dict[str, Block] = {}
        self.pads: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
        self.order: list[Block] = []

    def input(self, name: str) -> None:
        """Add the block that takes a layer's value from outside."""
        shape = self.network[name].shape
        channels, vectors = shape[1], len(shape) == 2
        # A stem reads its few channels one by one: no room is wasted on them.
        pixel = shape[2:] in ((), (1, 1))
        target = Map(name, channels, channels if channels < 4 else 0, pixel=pixel)
        self.place(Input(name, [], target, vectors=vectors), name)

    def place(self, block: Block, layer: str) -> None:
        """Add a block, which gives a layer's value."""
        self.order.append(block)
        self.made[layer] = block
        block.layers.append(layer)

    def extend(self, layer: Layer, block: Block) -> None:
        """Let a block that is there give the value of one more layer."""
        self.made[layer.name] = block
        block.layers.append(layer.name)

    def map(self, name: str) -> Map:
        """The map that holds a layer's value."""
        target = self.made[name].target
        assert target is not None
        return target

    def parameters(self, layer: Layer) -> dict[str, Array]:
        """The parameters of a layer, in float64."""
        values = self.weights[layer.name]
        return {name: value.detach().double().numpy() for name, value in values.items()}

    def alone(self, name: str) -> bool:
        """Whether only the next layer reads a value as it is now."""
        if len(self.network.consumers(name)) != 1 or name in self.outputs:
            return False
        layer = self.network[name]
        same = layer.kind == "identity" and name in self.inside
        return not same or self.alone(layer.inputs[0])
