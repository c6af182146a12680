"""Operations in place become ones that give a new value.

An exported graph may write into a tensor (`relu_`, `add_`). What reads the tensor later means
the new value, which only the order of the nodes tells. Here the edges tell it, so that nodes may
be put together and moved.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from convsmith.network.writes import writes

__all__ = ["functional"]


def functional(program: ExportedProgram) -> tuple[bool, str]:
    """Rewrite a program, of one's own, without operations in place.

    An input that the model writes into is written to at the end.

    Returns:
        Whether anything was changed; and why not all of it could be, in which case the program is
        as it was.
    """
    nodes = list(program.graph.nodes)
    changing = [node for node in nodes if writes(node)]
    if not changing:
        return False, ""
    inputs = set(program.graph_signature.user_inputs)
    order = {node: place for place, node in enumerate(nodes)}
    classes = _classes(nodes)
    replacements: list[tuple[Node, Any, Node]] = []
    for node in changing:
        operation = _pure(node)
        target = node.args[0] if node.args else None
        if operation is None or not isinstance(target, Node):
            return False, f"{node.name} writes into its argument"
        family = [n for n in nodes if classes.get(n) == classes[target] and order[n] < order[node]]
        later = [n for n in family if any(order[user] > order[node] for user in n.users)]
        if any(_geometry(n) != _geometry(target) for n in later) or any(
            n.op == "get_attr" or (n.op == "placeholder" and n.name not in inputs) for n in family
        ):
            return False, f"{node.name} writes into a tensor that has views"
        if any(n.op == "placeholder" and _geometry(n) != _geometry(target) for n in family):
            return False, f"{node.name} writes into a part of an input"
        replacements.append((node, operation, target))
    written: dict[Node, Node] = {}
    for node, operation, target in replacements:
        node.target = operation
        for earlier in nodes[: order[node]]:
            if classes.get(earlier) == classes[target]:
                for user in [u for u in earlier.users if order[u] > order[node]]:
                    user.replace_input_with(earlier, node)
                if earlier.op == "placeholder":
                    written[earlier] = node
    end = nodes[-1]
    with program.graph.inserting_before(end):
        for placeholder, value in written.items():
            copy = program.graph.call_function(torch.ops.aten.copy_.default, (placeholder, value))
            copy.meta["val"] = placeholder.meta["val"]
    for spec, value in zip(program.graph_signature.output_specs, end.args[0], strict=True):
        if isinstance(value, Node) and isinstance(spec.arg, TensorArgument):
            spec.arg = TensorArgument(value.name)
    program.graph_module.recompile()
    return True, ""


def _pure(node: Node) -> Any:
    """The operation that gives what `node` writes, or None."""
    target: Any = node.target
    if writes(node) != [node.args[0]] or not isinstance(target, torch._ops.OpOverload):
        return None
    name: str = target._schema.name.split("::")[1]
    packet = getattr(torch.ops.aten, name.rstrip("_"), None)
    pure = getattr(packet, target._overloadname, None)
    if target.namespace != "aten" or not name.endswith("_") or pure is None:
        return None
    kinds = {value.dtype for value in _values(node) if isinstance(value, Tensor)}
    # What is written keeps its type; a sum of two types would not.
    return pure if len(kinds) == 1 and not pure._schema.is_mutable else None


def _values(node: Node) -> Iterator[Any]:
    for leaf in tree_leaves([node.args, dict(node.kwargs)]):
        if isinstance(leaf, Node):
            yield leaf.meta.get("val")


def _classes(nodes: list[Node]) -> dict[Node, int]:
    """For each tensor the first node that lies, or may lie, in the same memory."""
    first: dict[int, int] = {}
    classes: dict[Node, int] = {}
    for place, node in enumerate(nodes):
        for value in tree_leaves(node.meta.get("val")):
            if isinstance(value, Tensor):
                classes[node] = first.setdefault(value.untyped_storage()._cdata, place)
        source = node.args[0] if node.args else None
        if isinstance(source, Node) and source in classes and _may_alias(node):
            classes[node] = classes[source]
            for value in tree_leaves(node.meta.get("val")):
                if isinstance(value, Tensor):
                    first[value.untyped_storage()._cdata] = classes[source]
    return classes


def _may_alias(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return node.target is operator.getitem
    return "dropout" in schema.name or any(r.alias_info is not None for r in schema.returns)


def _geometry(node: Node) -> tuple[Any, ...]:
    value = node.meta["val"]
    if not isinstance(value, Tensor):
        return (node,)
    return tuple(map(str, (value.shape, value.stride(), value.storage_offset())))
