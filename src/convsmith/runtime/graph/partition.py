"""Cut a graph: layers that kernels compute become regions, the others stay in torch."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.kernels.library import Library
from convsmith.network import Layer, Network
from convsmith.network.writes import writes
from convsmith.runtime.execution.region import Region
from convsmith.runtime.execution.team import Team
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.graph.watch import Watch
from convsmith.runtime.graph.weights import LayerWeights
from convsmith.runtime.lowering.lower import lower
from convsmith.runtime.lowering.table import refusal
from convsmith.runtime.precision import FLOAT32, Precision

__all__ = ["left_to_torch", "partition"]

_CAST = torch.ops.aten._to_copy.default

_LARGE = 100_000
"""Weights of linear layers that are worth entering a region for."""


def partition(
    captured: Capture,
    library: Library,
    team: Team,
    precision: Precision = FLOAT32,
    every: bool = False,
) -> Variant:
    """A graph with regions in place of what kernels compute.

    Args:
        captured: a captured network; its program is left as it is.
        library: where kernels come from.
        team: the threads that run them.
        precision: what they compute with.
        every: also make regions that cost more to enter than they save, where there is no torch.

    Raises:
        ArgumentError: for layers to keep in float32 that the network does not have.
    """
    network, graph = captured.network, captured.graph()
    precision.check(layer.name for layer in network)
    graph.graph.eliminate_dead_code()
    nodes = _nodes_of(graph, network)
    weights = LayerWeights(network)
    numbers = ("float32",) if precision.name == "float32" else ("float32", "bfloat16")
    reasons = _reasons(captured, weights, numbers)
    # Before any value is read: what changes meanwhile is then seen at the next call.
    watch = Watch(_read(weights, reasons), library.watching)
    for number, inside in enumerate(_candidates(graph, network, reasons)):
        # A region of moving and scaling alone would cost more to enter than it saves.
        if not every and not any(_is_convolution(network[name]) for name in inside):
            linear = [weights[name]["weight"] for name in inside if network[name].kind == "linear"]
            if sum(weight.numel() for weight in linear) < _LARGE:
                why = "too few weights" if linear else "no convolution beside it"
                reasons |= dict.fromkeys(inside, why)
                continue
        cut = _Cut(graph, network, inside, nodes)
        blocks = lower(network, inside, cut.results, weights, precision)
        cut.replace(f"region_{number}", Region(blocks, library, team, precision.name))
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    computed = {node.name for node in graph.graph.nodes if node.op == "call_function"}
    left = {layer.name: reasons[layer.name] for layer in network if layer.node in computed}
    return Variant(captured, graph, {name: why for name, why in left.items() if why}, watch)


def left_to_torch(captured: Capture) -> dict[str, str]:
    """The layers that no kernel computes, each with the reason."""
    reasons = _reasons(captured, LayerWeights(captured.network))
    return {name: why for name, why in reasons.items() if why}


def _reasons(
    captured: Capture, weights: LayerWeights, numbers: Sequence[str] = ("float32",)
) -> dict[str, str]:
    """Why no kernel computes a layer, by its name; '' where one may."""
    return {layer.name: _refusal(layer, captured, weights, numbers) for layer in captured.network}


def _read(weights: LayerWeights, reasons: Mapping[str, str]) -> list[Tensor]:
    """The tensors whose values kernels take over."""
    return [
        tensor
        for name in weights
        if not reasons[name]
        for tensor in weights.behind(name)
        if tensor.is_floating_point()
    ]


def _candidates(
    graph: GraphModule, network: Network, reasons: Mapping[str, str]
) -> Iterator[set[str]]:
    """The layers of each possible region, which share one batch.

    Regions of one batch are cut out before those of the next are looked for, so that no two of
    them need each other's results.
    """
    names = {layer.node: layer.name for layer in network if layer.kind != "input"}
    groups: dict[tuple[int, int, str], set[str]] = {}
    for node, name in names.items():
        if not reasons[name]:
            groups.setdefault(_batch(network[name]), set()).add(node)
    for supported in groups.values():
        partitioner = CapabilityBasedPartitioner(
            graph, _Support(supported), allows_single_node_partition=True
        )
        for candidate in partitioner.propose_partitions():
            yield {names[node.name] for node in candidate.nodes}


def _batch(layer: Layer) -> tuple[int, int, str]:
    """How many axes a layer's value has, how many images, and the type of its numbers."""
    return len(layer.shape), layer.shape[0], layer.results[0].dtype


def _refusal(layer: Layer, captured: Capture, weights: LayerWeights, numbers: Sequence[str]) -> str:
    """Why a layer is left to torch; '' if a kernel computes it."""
    if captured.kept:
        return captured.kept
    if layer.operation.custom is not None:
        return "an operation of your own"
    if layer.node in captured.fixed:
        return "what it does depends on the size of the image"
    if len(layer.results) != 1:
        return "it gives several tensors"
    settings = layer.operation.settings
    if settings.get("training") or settings.get("train"):
        return "it is in training mode"
    places = {tensor.device.type for tensor in weights.behind(layer.name)} - {"cpu"}
    if places:
        return f"its weights are on {places.pop()}"
    why = refusal(layer, weights, numbers)
    inputs = [captured.network[name] for name in layer.inputs]
    if not why and any(_batch(source) != _batch(layer) for source in inputs):
        return "its inputs differ in their batch"
    return why


def _is_convolution(layer: Layer) -> bool:
    return isinstance(layer.operation.arithmetic, (Conv, ConvTranspose))


class _Support(OperatorSupportBase):
    def __init__(self, names: set[str]) -> None:
        self.names = names

    def is_node_supported(self, submodules: Any, node: Node) -> bool:
        return node.name in self.names


def _nodes_of(graph: GraphModule, network: Network) -> dict[str, Node]:
    """The node of each layer that is not dead code."""
    layers = {layer.node: layer.name for layer in network if layer.kind != "input"}
    nodes = {layers[node.name]: node for node in graph.graph.nodes if node.name in layers}
    entries = [node for node in graph.graph.nodes if node.op == "placeholder"]
    return nodes | dict(zip(network.inputs, entries, strict=True))


class _Cut:
    """The layers of a region in the graph that they are cut from.

    Args:
        graph: the graph.
        network: its layers.
        inside: those of the region, by name.
        nodes: what gives each layer's value; a region takes the place of what it computes, which
            a later one may read.

    Attributes:
        results: those whose values are used outside.
    """

    def __init__(
        self, graph: GraphModule, network: Network, inside: set[str], nodes: dict[str, Node]
    ) -> None:
        self._graph, self._nodes = graph, nodes
        self._narrow = any(network[name].results[0].dtype == "bfloat16" for name in inside)
        self._inside = {nodes[name] for name in inside}
        self.results = [
            layer.name
            for layer in network
            if layer.name in inside and not self._inside.issuperset(nodes[layer.name].users)
        ]

    def replace(self, name: str, region: Region) -> None:
        """Put one call of a region in the place of the nodes."""
        graph, nodes, inside = self._graph.graph, self._nodes, self._inside
        sources = [nodes[block.name] for block in region.inputs]
        self._graph.add_submodule(name, region)
        order = {node: place for place, node in enumerate(graph.nodes)}
        last = max(sources, key=order.__getitem__)
        if self._narrow:
            for number, source in enumerate(sources):
                last = sources[number] = self._cast(source, torch.float32, last)
        with graph.inserting_after(last):
            call = graph.call_module(name, tuple(sources))
        for place, layer in enumerate(self.results):
            value = call
            if len(self.results) > 1:
                with graph.inserting_after(call):
                    value = graph.call_function(operator.getitem, (call, place))
            if self._narrow:
                value = self._cast(value, torch.bfloat16, value)
            nodes[layer].replace_all_uses_with(
                value, delete_user_cb=lambda user: user not in inside
            )
            nodes[layer] = value
        for node in sorted(inside, key=order.__getitem__, reverse=True):
            graph.erase_node(node)
        # The call stands after the last of its inputs, perhaps after a node that needs it.
        _sort(self._graph)

    def _cast(self, value: Node, dtype: torch.dtype, after: Node) -> Node:
        """The value with numbers of another type: regions take and give float32."""
        with self._graph.graph.inserting_after(after):
            return self._graph.graph.call_function(_CAST, (value,), {"dtype": dtype})


def _sort(graph: GraphModule) -> None:
    """Put nodes after those they need, else in the order they have; what writes comes last."""
    order = list(graph.graph.nodes)
    before = {node: set(node.all_input_nodes) for node in order}
    for node in order:
        for written in writes(node):
            before[node] |= {user for user in written.users if user is not node}
    place = {node: i for i, node in enumerate(order)}
    after: dict[Node, list[Node]] = {node: [] for node in order}
    for node, needed in before.items():
        for other in needed:
            after[other].append(node)
    ready = [place[node] for node in order if not before[node]]
    heapify(ready)
    previous: Node | None = None
    while ready:
        node = order[heappop(ready)]
        if previous is not None:
            previous.append(node)
        previous = node
        for reader in after[node]:
            before[reader].discard(node)
            if not before[reader]:
                heappush(ready, place[reader])
