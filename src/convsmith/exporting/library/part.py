"""The part of a network that kernels compute, where torch would have to go on after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_flatten

from convsmith.errors import ConvsmithError
from convsmith.network.example import aliased
from convsmith.runtime.graph.capture import Capture

__all__ = ["part_before"]


def part_before(captured: Capture, left: Mapping[str, str]) -> tuple[nn.Module, list[str]]:
    """A network up to the layers that only torch computes.

    Args:
        captured: the whole network.
        left: those layers by the names of their nodes, each with the reason.

    Returns:
        A module of the same inputs whose outputs are what the rest reads, and those outputs that
        need nothing of the rest; and the names of the layers that give them.

    Raises:
        ConvsmithError: where nothing is computed before them.
    """
    module: Any = captured.program.module(check_guards=False)
    graph = module.graph
    after: set[Node] = set()
    from_input: set[Node] = set()
    for node in graph.nodes:
        if node.name in left or after.intersection(node.all_input_nodes):
            after.add(node)
        if node.op == "placeholder" or from_input.intersection(node.all_input_nodes):
            from_input.add(node)
    output = graph.output_node()
    ends = [
        node
        for node in graph.nodes
        if node in from_input - after
        and node.op == "call_function"
        and isinstance(node.meta.get("val"), Tensor)
        and (output in node.users or after.intersection(set(node.users) - {output}))
    ]
    if not ends:
        raise ConvsmithError(
            f"{captured.network.name} cannot become a C library: nothing comes before "
            f"{', '.join(left.values())}"
        )
    output.args = (tuple(ends),)
    codegen = graph._codegen
    spec = tree_flatten(tuple(ends))[1]
    codegen.pytree_info = codegen.pytree_info._replace(out_spec=spec)
    graph.eliminate_dead_code()
    module.recompile()
    _drop_unread(module)
    names = {layer.node: layer.name for layer in captured.network}
    return module, [names.get(node.name, node.name) for node in ends]


def _drop_unread(module: GraphModule) -> None:
    """Remove the weights of what was cut off."""
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    for name, _ in held:
        if name not in read:
            owner, _, last = name.rpartition(".")
            delattr(module.get_submodule(owner), last)


def captured_part(module: nn.Module, inputs: Any) -> torch.export.ExportedProgram:
    """The part as a program of its own."""
    args, kwargs = aliased(inputs)
    with torch.no_grad():
        return torch.export.export(module, args, kwargs)
