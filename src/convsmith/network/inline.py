"""Parts of a program that run in a context of their own, put in line with the rest.

`torch.export` puts what runs under `autocast`, `enable_grad`, `no_grad` or checkpointing into a
graph of its own, which the program calls. A network has no such boundaries: its layers are those
inside.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Graph, GraphModule, Node

__all__ = ["inlined"]

_AUTOCAST = "wrap_with_autocast"
# Operations that call a graph, by how many of their first arguments say how it is to run.
_SETTINGS = {
    _AUTOCAST: 4,
    "hints_wrapper": 0,
    "invoke_subgraph": 0,
    "tag_activation_checkpoint": 0,
    "wrap": 0,
    "wrap_activation_checkpoint": 0,
    "wrap_with_set_grad_enabled": 1,
}
# Further arguments between the graph and its operands.
_BETWEEN = {"invoke_subgraph": 1}


def inlined(program: ExportedProgram) -> ExportedProgram:
    """Put the graphs that a program calls in line, in place; the program computes the same.

    Gradients are not recorded anyway, so only `autocast` is still entered and left.
    """
    replaced: dict[str, str] = {}
    root = program.graph_module
    while calls := list(_calls(root)):
        for call, inner in calls:
            _inline(root.graph, call, inner, replaced)
    if replaced:
        for spec in program.graph_signature.output_specs:
            if isinstance(spec.arg, TensorArgument):
                name = spec.arg.name
                while name in replaced:
                    name = replaced[name]
                spec.arg = TensorArgument(name)
        root.graph.lint()
        root.recompile()
    return program


def _calls(root: GraphModule) -> Iterator[tuple[Node, GraphModule]]:
    """The nodes that call a graph which can be put in line, each with its graph."""
    for node in root.graph.nodes:
        name = getattr(node.target, "__name__", "")
        if node.op != "call_function" or name not in _SETTINGS:
            continue
        if not isinstance(node.target, torch._ops.HigherOrderOperator):
            continue
        holder = node.args[_SETTINGS[name]] if len(node.args) > _SETTINGS[name] else None
        if isinstance(holder, Node) and holder.op == "get_attr":
            inner = operator.attrgetter(str(holder.target))(root)
            if isinstance(inner, GraphModule):
                yield node, inner


def _inline(graph: Graph, call: Node, inner: GraphModule, replaced: dict[str, str]) -> None:
    """Copy a graph to where it is called; `replaced` notes which names stand for its results."""
    name = call.target.__name__  # type: ignore[union-attr]
    first = _SETTINGS[name] + 1 + _BETWEEN.get(name, 0)
    operands: list[Any] = list(call.args[first:])
    if name == "hints_wrapper":
        (taken, *_) = operands
        operands = list(taken)
    copies: dict[Node, Any] = {}
    outputs: Any = ()
    with graph.inserting_before(call):
        entered = None
        if name == _AUTOCAST:
            enter = torch.amp.autocast_mode._enter_autocast
            entered = graph.call_function(enter, tuple(call.args[:4]))
        waiting = iter(operands)
        for node in inner.graph.nodes:
            if node.op == "placeholder":
                copies[node] = next(waiting)
            elif node.op == "output":
                outputs = node.args[0]
            elif node.op == "get_attr":
                copies[node] = _attribute(graph, call, inner, node)
            else:
                copies[node] = graph.node_copy(node, lambda n: copies[n])
        if entered is not None:
            graph.call_function(torch.amp.autocast_mode._exit_autocast, (entered,))
    several = isinstance(outputs, (tuple, list))
    results = [copies.get(r, r) if isinstance(r, Node) else r
               for r in (outputs if several else [outputs])]  # fmt: skip
    for user in list(call.users):
        if several and user.target is operator.getitem:
            result = results[user.args[1]]  # type: ignore[index]
            user.replace_all_uses_with(result)
            replaced[user.name] = result.name
            graph.erase_node(user)
    if call.users and not several:
        call.replace_all_uses_with(results[0])
        replaced[call.name] = results[0].name
    if not call.users:
        holders = [n for n in call.all_input_nodes if n.op == "get_attr"]
        replaced.setdefault(call.name, call.name + " in line")
        graph.erase_node(call)
        for holder in holders:
            if not holder.users:
                graph.erase_node(holder)


def _attribute(graph: Graph, call: Node, inner: GraphModule, node: Node) -> Node:
    """An attribute of the inner graph's module, under a name of its own in the outer one."""
    root = graph.owning_module
    assert root is not None
    value = operator.attrgetter(str(node.target))(inner)
    name = f"{call.name}_{str(node.target).replace('.', '_')}"
    setattr(root, name, value)
    made = graph.get_attr(name)
    made.meta = dict(node.meta)
    return made
