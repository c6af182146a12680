"""Values of a graph in another form, computed beside it until the usual form comes back.

Some layers take a map apart from its form (N, C, H, W) for a while: with the channels last, or as
vectors of numbers for each channel. Each such value gets a twin, the same numbers as a map; what
reads the usual form again then reads the twin, and what nothing reads any more is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from convsmith.network.reading import read_operation

__all__ = ["Form", "Rule", "Twins", "by_weights", "may_have", "rewritten", "shape_of"]

_ATEN = torch.ops.aten

Twins = dict[Any, Node]
"""The twin of each value that has one."""

Rule = Callable[[Graph, Node, Twins], Node | None]
"""Adds the twin of a node whose sources have twins; None where there is none."""


@dataclass(frozen=True)
class Form:
    """Another form of maps.

    Attributes:
        begins: the map of which a node is this form, a new node if need be; else None.
        may_end: whether a node could be in the usual form again; quick, for most graphs have none.
        ends: the twin of the source that a node gives in the usual form again; else None.
        rules: how operations compute on twins. Activations and the like need none.
        value: from a (fake) tensor in this form to the same as a map.
        back: makes a node, which others read as well, from its twin; without, it is computed twice.
    """

    begins: Callable[[Graph, Node], Node | None]
    may_end: Callable[[Node], bool]
    ends: Callable[[Node, Twins], Node | None]
    rules: Mapping[Any, Rule]
    value: Callable[[Tensor], Tensor]
    back: Callable[[Node, Node], None] | None = None


def may_have(program: ExportedProgram, form: Form) -> bool:
    """Whether there may be something to rewrite."""
    return any(map(form.may_end, program.graph.nodes))


def rewritten(program: ExportedProgram, form: Form) -> bool:
    """Rewrite a program, of one's own and `functional`, without a form wherever it ends.

    Every node that is left keeps its name and its value.

    Returns:
        Whether anything was changed.
    """
    graph = program.graph
    twins: Twins = {}
    made: list[Node] = []  # the values that were computed
    before, changed = list(graph.nodes), False
    for node in before:
        if node.op != "call_function":
            continue
        usual = form.ends(node, twins)
        if usual is not None:
            node.target, node.args, node.kwargs = _ATEN.alias.default, (usual,), {}
            changed = True
            continue
        with graph.inserting_before(node):
            begun = form.begins(graph, node)
            twin = begun or _twin(graph, node, twins, form.rules)
        if twin is None:
            continue
        twins[node] = twin
        if "val" not in twin.meta:
            twin.meta = {**node.meta, "val": form.value(node.meta["val"])}
        if begun is None:
            made.append(node)
    if not changed:
        known = set(before)
        for node in reversed(list(graph.nodes)):
            if node not in known:  # nothing comes back, so nothing reads it
                graph.erase_node(node)
        return False
    for node in reversed(made if form.back is not None else []):
        if not node.users:
            graph.erase_node(node)
        elif form.back is not None:
            form.back(node, twins[node])
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return True


def _twin(graph: Graph, node: Node, twins: Twins, rules: Mapping[Any, Rule]) -> Node | None:
    if not any(value in twins for value in node.all_input_nodes):
        return None
    rule = rules.get(node.target)
    if rule is not None:
        return rule(graph, node, twins)
    operation = read_operation(node)
    if operation.kind in ("activation", "identity") and operation.name not in ("glu", "prelu"):
        first, *rest = node.args
        if isinstance(first, Node) and len(node.all_input_nodes) == 1:
            operator: Any = node.target
            return graph.call_function(operator, (twins[first], *rest), dict(node.kwargs))
    return None


def by_weights(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """A linear layer over the channels of a pixel: a convolution of one tap."""
    source, weight, *bias = node.args
    if source not in twins or weight in twins or not isinstance(weight, Node) or node.kwargs:
        return None
    for _ in range(2):  # (out, in) becomes (out, in, 1, 1)
        value = weight.meta["val"].unsqueeze(-1)
        weight = graph.call_function(_ATEN.unsqueeze.default, (weight, -1))
        weight.meta["val"] = value
    return graph.call_function(_ATEN.conv2d.default, (twins[source], weight, *bias))


def shape_of(value: Any) -> tuple[Any, ...]:
    """The lengths of what a node gives; () where that is no tensor."""
    value = value.meta.get("val") if isinstance(value, Node) else None
    return tuple(value.shape) if isinstance(value, Tensor) else ()
