"""Cut a graph: layers that kernels compute become regions, the others stay in torch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from convsmith.network import Layer, Network
from convsmith.network.reading import arguments
from convsmith.runtime.graph.capture import Capture, unchecked
from convsmith.runtime.graph.functional import writes
from convsmith.runtime.lowering.block import Block, Input
from convsmith.runtime.lowering.lower import lower
from convsmith.runtime.lowering.lowering import Weights
from convsmith.runtime.lowering.table import refusal

__all__ = ["partition", "weights_of"]

# A region of moving and scaling alone would cost more to enter than it saves.
_WORTH = {"convolution", "transposed convolution"}

_LARGE = 100_000
"""Weights of linear layers that are worth entering a region for."""


def partition(
    captured: Capture, make: Callable[[Sequence[Block]], nn.Module]
) -> tuple[GraphModule, dict[str, str]]:
    """A graph with regions in place of what kernels compute.

    Args:
        captured: a captured network; its program is left as it is.
        make: the module for the blocks of a region.

    Returns:
        The graph, and for each layer left to torch the reason.
    """
    network, graph = captured.network, captured.graph()
    weights = weights_of(network)
    reasons = {layer.name: _refusal(layer, captured, weights) for layer in network}
    names = {layer.node: layer.name for layer in network if layer.kind != "input"}
    wanted = {node for node, name in names.items() if not reasons[name]}
    partitioner = CapabilityBasedPartitioner(
        graph, _Support(wanted), allows_single_node_partition=True
    )
    for number, found in enumerate(partitioner.propose_partitions()):
        inside = {names[node.name] for node in found.nodes}
        if not any(network[name].kind in _WORTH for name in inside):
            linear = [weights[name]["weight"] for name in inside if network[name].kind == "linear"]
            if sum(weight.numel() for weight in linear) < _LARGE:
                why = "too few weights" if linear else "no convolution beside it"
                reasons |= dict.fromkeys(inside, why)
                continue
        _replace(graph, network, inside, weights, f"region_{number}", make)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return unchecked(graph), {name: reason for name, reason in reasons.items() if reason}


def _refusal(layer: Layer, captured: Capture, weights: Weights) -> str:
    """Why a layer is left to torch; '' if a kernel computes it."""
    if captured.kept:
        return captured.kept
    if layer.node in captured.fixed:
        return "what it does depends on the size of the image"
    if len(layer.results) != 1:
        return "it gives several tensors"
    settings = layer.operation.settings
    if settings.get("training") or settings.get("train"):
        return "it is in training mode"
    places = {t.device.type for t in weights.get(layer.name, {}).values()} - {"cpu"}
    if places:
        return f"its weights are on {places.pop()}"
    return refusal(layer, weights)


def weights_of(network: Network) -> Weights:
    """The parameters of each layer that takes nothing else besides its input."""
    program: ExportedProgram = network.program
    tensors = {**program.state_dict, **program.constants}
    held = {
        spec.arg.name: tensors[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind.name != "USER_INPUT" and isinstance(tensors.get(spec.target), Tensor)
    }
    names = {layer.node: layer.name for layer in network}
    found: dict[str, Mapping[str, Tensor]] = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or node.name not in names:
            continue
        given = {k: v for k, v in arguments(node).items() if isinstance(v, Node)}
        given.pop("input", None)
        if given and all(value.name in held for value in given.values()):
            found[names[node.name]] = {key: held[value.name] for key, value in given.items()}
    return found


class _Support(OperatorSupportBase):
    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted

    def is_node_supported(self, submodules: Any, node: Node) -> bool:
        return node.name in self.wanted


def _replace(
    graph: GraphModule,
    network: Network,
    inside: set[str],
    weights: Weights,
    name: str,
    make: Callable[[Sequence[Block]], nn.Module],
) -> None:
    """Put one call of a region in the place of the nodes of its layers."""
    layers = {layer.node: layer.name for layer in network if layer.kind != "input"}
    nodes = {layers[node.name]: node for node in graph.graph.nodes if node.name in layers}
    entries = [node for node in graph.graph.nodes if node.op == "placeholder"]
    nodes |= dict(zip(network.inputs, entries, strict=True))
    mine = {nodes[layer] for layer in inside}
    results = [
        layer.name
        for layer in network
        if layer.name in inside and not mine.issuperset(nodes[layer.name].users)
    ]
    blocks = lower(network, inside, results, weights)
    sources = [nodes[block.name] for block in blocks if isinstance(block, Input)]
    graph.add_submodule(name, make(blocks))
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    with graph.graph.inserting_after(max(sources, key=order.__getitem__)):
        call = graph.graph.call_module(name, tuple(sources))
    for place, layer in enumerate(results):
        value = call
        if len(results) > 1:
            with graph.graph.inserting_after(call):
                value = graph.graph.call_function(operator.getitem, (call, place))
        nodes[layer].replace_all_uses_with(value, delete_user_cb=lambda user: user not in mine)
    for node in sorted(mine, key=order.__getitem__, reverse=True):
        graph.graph.erase_node(node)
    # The call stands after the last of its inputs, which may be behind a node that needs it.
    _sort(graph)


def _sort(graph: GraphModule) -> None:
    """Put nodes behind those they need, else in the order they have; what writes comes last."""
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
