"""A plan of dilations carried out on the exported graph, where modules cannot do it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import fx, nn

from convsmith.errors import ArgumentError
from convsmith.network import Layer, Network, quiet, submodule
from convsmith.rewrite.dilation.layers import Trim
from convsmith.rewrite.dilation.modules import padding_of, pool
from convsmith.rewrite.dilation.plan import Change, Plan

__all__ = ["on_graph"]


def on_graph(network: Network, plan: Plan, last: Sequence[str] = ()) -> fx.GraphModule:
    """Change the exported graph: fixed to the example's sizes, and to evaluation.

    Args:
        network: a traced network.
        plan: what becomes of its layers.
        last: layers whose results the new module returns, where it is not to return the old ones;
            what they do not need is left out.
    """
    with quiet():
        exported = deepcopy(network.program.module(check_guards=False))
    graph = exported.graph
    for node in list(graph.nodes):
        if "_assert" in str(node.target):  # they hold the types of the trace
            graph.erase_node(node)
    nodes = {node.name: node for node in graph.nodes}
    now = dict(nodes)  # what gives the results of each node
    for layer in network:
        node = nodes.get(layer.node)
        change = plan.changes.get(layer.name)
        if node is None or layer.constant:
            continue
        if change is None:
            _resize(node, layer, plan)
        elif change.windows and layer.kind == "convolution":
            before = plan.grids[layer.inputs[0]]
            assert before is not None
            lengths = [grid.length for grid in before[0][-len(change.windows) :]]
            now[layer.node] = _convolve(exported, node, change, lengths)
        elif change.windows:
            now[layer.node] = _call(exported, node, pool(layer, change.windows))
        elif change.pads:
            pads = list(change.pads)
            padding = padding_of(layer, pads)
            steps = nn.Sequential(padding, Trim(change.trim)) if change.trim else padding
            now[layer.node] = _call(exported, node, steps)
        elif change.cut:
            node.args = (node.args[0], *change.cut)
            node.kwargs = {}
    if last:
        end_at(graph, [now[network[name].node] for name in last])
    graph.eliminate_dead_code()
    graph.lint()
    with quiet():
        new = fx.GraphModule(exported, graph, f"Dilated{network.name}")
    new.training = False
    if not last:
        _complete(new, network.model)
    return new


def end_at(graph: fx.Graph, ends: Sequence[fx.Node]) -> None:
    """Return the results of some nodes, as they are when these have run, and nothing after them.

    What works in place cannot be told from its users alone: it stays if it runs before the last of
    them, and writes to what they need.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    last = max(order[end] for end in ends)
    results = []
    for end in ends:
        with graph.inserting_after(end):  # a later operation may overwrite it
            results.append(graph.call_function(torch.ops.aten.clone.default, (end,)))
    graph.set_codegen(fx.graph.CodeGen())
    graph.output_node().args = (results[0] if len(results) == 1 else tuple(results),)
    writers = [node for node in order if order[node] <= last and _writes(node)]
    needed = _ancestors(results)
    while more := [node for node in writers if node not in needed and _written(node) in needed]:
        needed |= _ancestors(more)
    for node in reversed(list(graph.nodes)):
        if node not in needed and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _written(node: fx.Node) -> fx.Node:
    """The tensor that a node writes to, before any view of it was taken."""
    found = node.args[0] if node.args else node.kwargs.get("self")
    assert isinstance(found, fx.Node)
    while found.op == "call_function" and found.args and isinstance(found.args[0], fx.Node):
        schema = getattr(found.target, "_schema", None)
        aliases = schema is not None and any(r.alias_info is not None for r in schema.returns)
        if not aliases:
            break
        found = found.args[0]
    return found


def _ancestors(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Nodes and everything that their results depend on."""
    found, waiting = set(nodes), list(nodes)
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


class Inlined(nn.Module):
    """Stands where a module was whose operations are now the graph's own; it is never called."""

    def __init__(self, was: str) -> None:
        super().__init__()
        self.was = was

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: nothing is computed here any more."""
        raise ArgumentError(f"this {self.was} is part of an exported graph and cannot be called")

    def extra_repr(self) -> str:
        """What it was."""
        return f"was {self.was}"


def _complete(new: fx.GraphModule, model: nn.Module) -> None:
    """Take over what the graph has no use for: modules by name, and keys of the `state_dict`."""
    for path, module in model.named_modules():
        parent, _, name = path.rpartition(".")
        if path and not hasattr(new.get_submodule(parent), name):
            new.get_submodule(parent).add_module(name, Inlined(type(module).__name__))
    for key in sorted(model.state_dict().keys() - new.state_dict().keys()):
        path, _, name = key.rpartition(".")
        tensor = getattr(submodule(model, path) if path else model, name, None)
        if tensor is None:
            continue
        try:
            owner = new.get_submodule(path)
        except AttributeError:
            new.add_submodule(path, nn.Module())
            owner = new.get_submodule(path)
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(name, deepcopy(tensor))
        else:
            owner.register_buffer(name, deepcopy(tensor))


def _call(model: fx.GraphModule, node: fx.Node, module: nn.Module) -> fx.Node:
    """Let a module compute what a node did, from the node's first operand."""
    with model.graph.inserting_before(node):
        new = model.graph.call_module(_put(model, node, module), (node.args[0],))
    _give(node, new)
    return new


def _put(model: fx.GraphModule, node: fx.Node, module: nn.Module) -> str:
    name = f"dilated_{node.name}"
    model.add_submodule(name, module)
    return name


def _give(node: fx.Node, new: fx.Node) -> None:
    new.meta["stands_for"] = node.name
    first = "indices" in str(node.target)
    for user in list(node.users):
        if user is new or (first and user.args[1] == 1):
            continue
        if first:
            user.replace_all_uses_with(new)
        else:
            user.replace_input_with(node, new)


def _convolve(
    model: fx.GraphModule, node: fx.Node, change: Change, lengths: Sequence[int]
) -> fx.Node:
    windows, graph = change.windows, model.graph
    schema = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    given = dict(zip(schema, node.args, strict=False)) | dict(node.kwargs)
    x = given["input"]
    sides = [w.sides(n) for w, n in zip(windows, lengths, strict=True)]
    padding = [low for low, _, _ in sides]
    with graph.inserting_before(node):
        if any(low != high + more or low < 0 for low, high, more in sides):
            pads = [n for low, high, more in reversed(sides) for n in (low, high + more)]
            x = graph.call_function(torch.ops.aten.constant_pad_nd.default, (x, pads))
            padding = [0] * len(windows)
        op = getattr(torch.ops.aten, f"conv{len(windows)}d").default
        stride, dilation = [w.stride for w in windows], [w.dilation for w in windows]
        rest = (stride, padding, dilation, given.get("groups", 1))
        new = graph.call_function(op, (x, given["weight"], given.get("bias"), *rest))
        if any(w.trim for w in windows):
            trim = Trim([w.rate_out for w in windows])
            new = graph.call_module(_put(model, node, trim), (new,))
    _give(node, new)
    return new


def _resize(node: fx.Node, layer: Layer, plan: Plan) -> None:
    """Write the new lengths where the traced code has the old ones as numbers."""
    grids = plan.grids[layer.name]
    moved = grids and any(grid.rate > 1 for grid in grids[0])
    if not moved or layer.kind not in ("reshape", "expand") or len(node.args) < 2:
        return
    sizes = node.args[1]
    if grids and isinstance(sizes, (list, tuple)) and len(sizes) == len(grids[0]):
        node.args = (
            node.args[0],
            [
                grid.length if grid.rate > 1 and size == old else size
                for grid, size, old in zip(grids[0], sizes, layer.shape, strict=True)
            ],
            *node.args[2:],
        )
