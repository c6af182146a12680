"""A graph that runs: regions of kernels, and torch around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import Network
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.moving import move_by_itself, moves
from convsmith.runtime.graph.watch import Watch

if TYPE_CHECKING:
    # Halide has no wheel for every machine: this is imported where there are kernels.
    from convsmith.runtime.execution.region import Region

__all__ = ["Variant", "in_torch"]


@dataclass(eq=False)
class Variant:
    """A graph with its regions.

    Attributes:
        captured: what it was made from.
        graph: what runs.
        reasons: for each layer that runs in torch, why.
        watch: watches the weights that regions have taken over.
    """

    captured: Capture
    graph: GraphModule
    reasons: dict[str, str]
    watch: Watch

    @property
    def network(self) -> Network:
        """The layers."""
        return self.captured.network

    @property
    def regions(self) -> list[Region]:
        """The parts that kernels compute."""
        return list(self._named_regions().values())

    def _named_regions(self) -> dict[str, Region]:
        parts: dict[str, Any] = dict(self.graph.named_children())
        return {name: part for name, part in parts.items() if _is_region(part)}

    @cached_property
    def only(self) -> Region | None:
        """The region that computes all there is, if torch has no share in it."""
        nodes = self.graph.graph.nodes
        inner = [str(node.target) for node in nodes if node.op not in ("placeholder", "output")]
        return self._named_regions().get(inner[0]) if len(inner) == 1 else None

    @cached_property
    def alone(self) -> Region | None:
        """The same, if it also takes the inputs and gives the output as they are: one tensor."""
        if self.only is None or self.lean is None:
            return None
        *inputs, called, output = self.graph.graph.nodes
        if called.args != tuple(inputs):
            return None
        return self.only if tree_leaves(output.args) == [called] else None

    @cached_property
    def plain(self) -> GraphModule:
        """The same graph without regions, for calls that no region is made for."""
        return self.captured.in_torch

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the programs of all regions for inputs, and compile their kernels.

        The graph is run on tensors without values, so nothing is computed or written.
        """
        if not self.regions:
            return
        from convsmith.runtime.execution.region import PREPARING

        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            empty = tree_map(
                lambda v: mode.from_tensor(v, static_shapes=True) if isinstance(v, Tensor) else v,
                (args, kwargs),
            )
            PREPARING.on = True
            try:
                self.graph(*empty[0], **empty[1])
            finally:
                PREPARING.on = False

    @cached_property
    def lean(self) -> Callable[..., Any] | None:
        """The graph as one function of tensors, without what modules and trees do around a call.

        That takes as long as some networks do. None where a graph takes or gives anything else.
        """
        program = self.captured.program
        args, kwargs = program.example_inputs or ((), {})
        spec = program.call_spec.out_spec
        plain = bool(args) and all(type(value) is Tensor for value in args)
        if kwargs or not plain or spec is None or not spec.is_leaf():
            return None
        graph, values = Graph(), dict[Node, Node]()
        graph.output(tree_leaves(graph.graph_copy(self.graph.graph, values))[0])
        regions: dict[Any, Region] = {**self._named_regions()}
        for node in list(graph.nodes):
            if node.op == "call_module" and node.target in regions:
                with graph.inserting_after(node):
                    called = graph.call_function(regions[node.target].eager, node.args)
                node.replace_all_uses_with(called)
                graph.erase_node(node)
        move_by_itself(graph)
        return GraphModule(self.graph, graph).forward

    @cached_property
    def whole(self) -> Callable[..., Any]:
        """The graph for a call with anything else."""
        if not moves(self.graph.graph):
            return self.graph
        graph = Graph()
        graph.output(graph.graph_copy(self.graph.graph, {}))
        graph.set_codegen(self.graph.graph._codegen)
        move_by_itself(graph)
        return GraphModule(self.graph, graph)


def in_torch(captured: Capture) -> Variant:
    """A graph that torch runs, for machines without kernels."""
    why = "there are no kernels on this machine"
    layers = (layer for layer in captured.network if layer.kind != "input" and not layer.constant)
    reasons = {layer.name: why for layer in layers}
    return Variant(captured, captured.in_torch, reasons, Watch(()))


def _is_region(module: Any) -> bool:
    return hasattr(module, "blocks")
