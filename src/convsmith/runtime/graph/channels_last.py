"""Maps with the channels last, between two permutations, as maps with the channels first.

ConvNeXt (arXiv:2201.03545) and its kin permute each map for a layer norm and two linear layers,
and permute it back. Kernels take maps whose channels come second; a linear layer is then a
pointwise convolution, and a layer norm one over the channels of each pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from convsmith.network.reading import read_operation

__all__ = ["channels_first"]

_ATEN = torch.ops.aten
_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

_LIBRARY: Any = torch.library.Library("convsmith", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("channel_norm(Tensor x, Tensor? weight, Tensor? bias, float eps) -> Tensor")


def _channel_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """A layer norm over the second axis."""
    last = torch.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, eps)
    return last.movedim(-1, 1)


_LIBRARY.impl("channel_norm", _channel_norm, "CompositeImplicitAutograd")


def channels_first(program: ExportedProgram) -> bool:
    """Rewrite a program, of one's own and `functional`, with maps whose channels come second.

    Every node that is left keeps its name and its value.

    Returns:
        Whether anything was changed.
    """
    graph = program.graph
    turned: dict[Node, Node] = {}  # a value with the channels last: the same with them second
    before, changed = list(graph.nodes), False
    for node in before:
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if isinstance(source, Node) and _permutation(node) == _LAST:
            turned[node] = source
        elif isinstance(source, Node) and source in turned and _permutation(node) == _FIRST:
            node.target, node.args, node.kwargs = _ATEN.alias.default, (turned[source],), {}
            changed = True
        elif any(value in turned for value in node.all_input_nodes):
            with graph.inserting_before(node):
                twin = _twin(graph, node, turned)
            if twin is not None:
                twin.meta = {**node.meta, "val": node.meta["val"].permute(_FIRST)}
                turned[node] = twin
    if not changed:
        known = set(before)
        for node in reversed(list(graph.nodes)):
            if node not in known:  # nothing comes back, so nothing reads it
                graph.erase_node(node)
        return False
    for node in reversed(turned):
        # A value that something else reads, too, is permuted for it.
        if node.users and _permutation(node) != _LAST:
            node.target, node.kwargs = _ATEN.permute.default, {}
            node.args = (turned[node], list(_LAST))
        elif not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return True


def _permutation(node: Node) -> tuple[int, ...]:
    """The order that a node puts four axes into; () for another operation."""
    if node.target is _ATEN.permute.default:
        dims: Any = node.args[1]
        return tuple(dim % 4 for dim in dims) if len(dims) == 4 else ()
    if node.target is _ATEN.movedim.int:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() == 4:
            start, end = (int(dim) % 4 for dim in node.args[1:3])  # type: ignore[arg-type]
            order = [axis for axis in range(4) if axis != start]
            order.insert(end, start)
            return tuple(order)
    return ()


def _twin(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    """The operation of a node on a map whose channels come second; None where there is none."""
    rule = _RULES.get(node.target)
    if rule is not None:
        return rule(graph, node, turned)
    operation = read_operation(node)
    if operation.kind in ("activation", "identity") and operation.name not in ("glu", "prelu"):
        first, *rest = node.args
        if isinstance(first, Node) and len(node.all_input_nodes) == 1:
            operator: Any = node.target
            return graph.call_function(operator, (turned[first], *rest), dict(node.kwargs))
    return None


def _layer_norm(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    source, shape, *rest = node.args
    weight, bias, eps = (*rest, *(None, None, 1e-5)[len(rest) :])[:3]
    if source not in turned or len(shape) != 1 or node.kwargs:  # type: ignore[arg-type]
        return None
    if any(value in turned for value in (weight, bias)):
        return None
    operation = torch.ops.convsmith.channel_norm.default
    return graph.call_function(operation, (turned[source], weight, bias, eps))  # type: ignore[index]


def _linear(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    source, weight, *bias = node.args
    if source not in turned or weight in turned or not isinstance(weight, Node) or node.kwargs:
        return None
    for _ in range(2):  # (out, in) is a kernel of one tap
        value = weight.meta["val"].unsqueeze(-1)
        weight = graph.call_function(_ATEN.unsqueeze.default, (weight, -1))
        weight.meta["val"] = value
    return graph.call_function(_ATEN.conv2d.default, (turned[source], weight, *bias))  # type: ignore[index]


def _elementwise(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    """Of two maps, or of a map and a number for each channel or for all."""
    values: list[Any] = []
    for value in node.args[:2]:
        if value in turned:
            values.append(turned[value])  # type: ignore[index]
            continue
        shape = value.meta["val"].shape if isinstance(value, Node) else ()
        if len(shape) > 1:
            return None
        if isinstance(value, Node) and shape:
            single = graph.call_function(_ATEN.view.default, (value, [-1, 1, 1]))
            single.meta["val"] = value.meta["val"].view(-1, 1, 1)
            value = single
        values.append(value)
    return graph.call_function(node.target, (*values, *node.args[2:]), dict(node.kwargs))  # type: ignore[arg-type]


def _slice(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    source, *rest = node.args
    if node.kwargs or not rest:
        return None
    axis = _FIRST_OF[int(rest[0]) % 4]  # type: ignore[arg-type]
    return graph.call_function(node.target, (turned[source], axis, *rest[1:]))  # type: ignore[index, arg-type]


def _cat(graph: Graph, node: Node, turned: dict[Node, Node]) -> Node | None:
    parts: Any = node.args[0]
    dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if not all(part in turned for part in parts):
        return None
    maps = [turned[part] for part in parts]
    return graph.call_function(_ATEN.cat.default, (maps, _FIRST_OF[dim % 4]))


_FIRST_OF = (0, 2, 3, 1)
"""For each axis of a map with the channels last, the place it has where they come second."""

_Rule = Callable[[Graph, Node, dict[Node, Node]], Node | None]
_RULES: dict[Any, _Rule] = {
    _ATEN.layer_norm.default: _layer_norm,
    _ATEN.linear.default: _linear,
    _ATEN.add.Tensor: _elementwise,
    _ATEN.sub.Tensor: _elementwise,
    _ATEN.mul.Tensor: _elementwise,
    _ATEN.div.Tensor: _elementwise,
    _ATEN.slice.Tensor: _slice,
    _ATEN.cat.default: _cat,
}
