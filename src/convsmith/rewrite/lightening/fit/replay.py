"""Blocks of a traced network run with the weights of another one of the same graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from convsmith.network import Network, submodule
from convsmith.rewrite.lightening.fit.blocks import Block, program_nodes

__all__ = ["Replay", "Values", "seconds_of"]

Values = dict[Node, Tensor]
"""Results of operations for a number of images."""

_RATE, _FLOW = 4e10, 1.5e9
"""Of a usual processor: operations per second, and values of results per second."""


class Replay:
    """Runs the blocks of a network as a model computes them, in evaluation mode.

    Args:
        network: the original, traced for the batch that is run.
        model: the original, or a copy with lighter layers, which run in the place of the
            operations that they stand for.
        lighter: the convolutions that have a lighter form: the name of the layer, and its path.
    """

    def __init__(self, network: Network, model: nn.Module, lighter: Mapping[str, str]) -> None:
        self.model = model
        self._weights, self.inputs = program_nodes(network)
        self._values = {
            **network.program.constants,
            **dict(model.named_buffers(remove_duplicate=False)),
            **dict(model.named_parameters(remove_duplicate=False)),
        }
        layers = {layer.node: layer for layer in network}
        nodes = {node.name: node for node in network.program.graph.nodes}
        self._modules: dict[Node, tuple[str, Node]] = {}
        for name, path in lighter.items():
            node = nodes[network[name].node]
            given = node.all_input_nodes[0]
            while given.name in layers and layers[given.name].path == path:
                given = given.all_input_nodes[0]  # the padding is the module's own
            self._modules[node] = path, given

    def weights(self, block: Block) -> dict[str, Tensor]:
        """What can be fitted in a block, by its name in the model: floating, and not on record."""
        names = [
            f"{path}.{name}"
            for path in block.layers
            for name, _ in submodule(self.model, path).named_parameters()
        ]
        found = {name: self._named(name) for name in (*names, *block.parameters)}
        return {name: value for name, value in found.items() if value.is_floating_point()}

    def run(
        self,
        block: Block,
        given: Mapping[Node, Tensor],
        weights: Mapping[str, Tensor] | None = None,
    ) -> dict[Node, Tensor]:
        """The outputs of a block.

        Args:
            block: one of the network's blocks.
            given: the value of each of its inputs; an operation may write into it.
            weights: in place of the model's own of the same names.
        """
        own: Mapping[str, Tensor] = weights or {}
        values: dict[Node, Any] = dict(given)
        for node in block.nodes:
            if "_assert" in str(node.target):
                continue
            for source in node.all_input_nodes if node not in self._modules else ():
                self._find(source, values, own)
            values[node] = self._result(node, values, own)
        return {node: values[node] for node in block.outputs}

    def _find(self, node: Node, values: dict[Node, Any], own: Mapping[str, Tensor]) -> None:
        """Look up a weight, or compute what is made of weights."""
        if node in values:
            return
        if node in self._weights:
            name = self._weights[node]
            values[node] = own[name] if name in own else self._values[name]
            return
        for source in node.all_input_nodes:
            self._find(source, values, own)
        values[node] = self._result(node, values, own)

    def all(
        self,
        block: Block,
        given: Values,
        size: int,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Values:
        """The outputs of a block for any number of images, `size` at a time."""
        results: dict[Node, list[Tensor]] = {node: [] for node in block.outputs}
        with torch.no_grad():
            for begin in range(0, len(next(iter(given.values()))), size):
                part = {node: v[begin : begin + size].clone() for node, v in given.items()}
                for node, value in self.run(block, part, weights).items():
                    results[node].append(value)
        return {node: torch.cat(parts) for node, parts in results.items()}

    def _result(self, node: Node, values: Mapping[Node, Any], own: Mapping[str, Tensor]) -> Any:
        if node in self._modules:
            path, given = self._modules[node]
            layer = submodule(self.model, path)
            mine = {
                name: own[key]
                for name, _ in layer.named_parameters()
                if (key := f"{path}.{name}") in own
            }
            return torch.func.functional_call(layer, mine, (values[given],))
        args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _named(self, name: str) -> Tensor:
        value = self._values[name] if name in self._values else self.model.get_parameter(name)
        assert isinstance(value, Tensor)
        return value


class _Flow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the values of all results."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        self.values += sum(x.numel() for x in tree_leaves(results) if isinstance(x, Tensor))
        return results


def seconds_of(replay: Replay, block: Block, given: Values) -> tuple[float, Values]:
    """About how long a block takes on a usual processor, from what it computes; and its outputs."""
    given = {node: value.clone() for node, value in given.items()}
    with torch.no_grad(), FlopCounterMode(display=False) as flops, _Flow() as flow:  # type: ignore[no-untyped-call]
        outputs = replay.run(block, given)
    return flops.get_total_flops() / _RATE + flow.values / _FLOW, outputs
