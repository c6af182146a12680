"""The weights of layers: parameters, and what a model computes from parameters alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from convsmith.network import Network
from convsmith.network.constants import is_repeatable
from convsmith.network.reading import arguments

__all__ = ["LayerWeights"]


class LayerWeights(Mapping[str, Mapping[str, Tensor]]):
    """For each layer that takes one tensor besides them, its weights by their names in the schema.

    A weight that is computed, as weight norm and weight standardisation do it, is so once, when it
    is first asked for.
    """

    def __init__(self, network: Network) -> None:
        program: ExportedProgram = network.program
        tensors = {**program.state_dict, **program.constants}
        self._held = {
            spec.arg.name: tensors[spec.target]
            for spec in program.graph_signature.input_specs
            if spec.kind.name != "USER_INPUT" and isinstance(tensors.get(spec.target), Tensor)
        }
        self._constant: dict[Node, int] = {}  # with its place in the graph
        self._read: dict[str, dict[str, Node]] = {}
        self._known: dict[str, Mapping[str, Tensor]] = {}
        names = {layer.node: layer.name for layer in network}
        for place, node in enumerate(program.graph.nodes):
            computed = is_repeatable(node) and self._constant.keys() >= set(node.all_input_nodes)
            if node.name in self._held or computed:
                self._constant[node] = place
            elif node.op == "call_function" and node.name in names:
                read = {k: v for k, v in arguments(node).items() if isinstance(v, Node)}
                own = {key: value for key, value in read.items() if value in self._constant}
                if own and len(read) == len(own) + 1:
                    self._read[names[node.name]] = own

    def __getitem__(self, name: str) -> Mapping[str, Tensor]:
        if name not in self._known:
            own = self._read[name]
            values = self._computed(own.values())
            self._known[name] = {key: values[node] for key, node in own.items()}
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._read

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def behind(self, name: str) -> list[Tensor]:
        """The tensors of the model that a layer's weights are, or are computed from."""
        nodes = self._closure(self._read.get(name, {}).values())
        return [self._held[node.name] for node in nodes if node.name in self._held]

    def _closure(self, nodes: Iterable[Node]) -> list[Node]:
        """Some constants and those that they are computed from, in the order of the graph."""
        needed, waiting = set(nodes), list(nodes)
        while waiting:
            fresh = set(waiting.pop().all_input_nodes) - needed
            needed |= fresh
            waiting += fresh
        return sorted(needed, key=self._constant.__getitem__)

    def _computed(self, nodes: Iterable[Node]) -> dict[Node, Tensor]:
        values: dict[Node, Tensor] = {}
        with torch.no_grad():
            for node in self._closure(nodes):
                if node.name in self._held:
                    values[node] = self._held[node.name]
                    continue
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        return values
