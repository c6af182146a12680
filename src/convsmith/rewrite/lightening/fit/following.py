"""The batch norms and activation that a layer's output goes through first."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.network import Layer, Network, submodule

__all__ = ["following"]


def following(
    network: Network, layer: Layer, model: nn.Module
) -> Callable[[Tensor], Tensor] | None:
    """The batch norms and the activation after a layer, as one function of its maps.

    None if no activation follows, or if another layer reads the maps before it.
    """
    nodes = {node.name: node for node in network.program.graph.nodes}
    steps: list[Callable[[Tensor], Tensor]] = []
    while True:
        readers = network.consumers(layer.name)
        if len(readers) != 1 or layer.name in network.outputs:
            return None
        layer = readers[0]
        if layer.kind == "activation":
            break
        norm = submodule(model, layer.path) if layer.kind == "batch norm" and layer.path else None
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            return None
        steps.append(norm)
    node = nodes[layer.node]
    if any(isinstance(value, Node) for value in (*node.args[1:], *node.kwargs.values())):
        return None  # a parameter of its own

    def call(maps: Tensor) -> Tensor:
        for step in steps:
            maps = step(maps)
        # It may be one that writes into what it is given.
        result: Tensor = node.target(maps.clone(), *node.args[1:], **node.kwargs)
        return result

    return call
