"""Operations in parts that kernels know, for kernels alone.

torch may round one of its own once where it rounds the parts twice.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from convsmith.network.reading import arguments
from convsmith.runtime.graph.own import ADAPTIVE_MAXIMA, CHANNEL_ARGMAX

__all__ = ["has_composed", "in_parts"]

_ATEN = torch.ops.aten
_COMPOSED = {_ATEN.argmax.default, _ATEN.addcmul.default, _ATEN.adaptive_max_pool2d.default}


def has_composed(program: ExportedProgram) -> bool:
    """Whether there is something to rewrite."""
    return any(node.target in _COMPOSED for node in program.graph.nodes)


def in_parts(program: ExportedProgram) -> bool:
    """Rewrite `addcmul` as the sum that it is, maxima without their places, and places as numbers.

    Every node keeps its name.

    Returns:
        Whether anything was changed.
    """
    changed = [_sum(node) or _largest(node) or _place(node) for node in list(program.graph.nodes)]
    if any(changed):
        program.graph.eliminate_dead_code()
        program.graph_module.recompile()
    return any(changed)


def _largest(node: Node) -> bool:
    both = node.args[0] if node.target is operator.getitem else None
    if not isinstance(both, Node) or both.target is not _ATEN.adaptive_max_pool2d.default:
        return False
    value = both.args[0].meta["val"] if isinstance(both.args[0], Node) else None
    if node.args[1] != 0 or value is None or value.dim() != 4:
        return False
    if any(user.users for user in both.users if user is not node):
        return False
    node.target, node.args = ADAPTIVE_MAXIMA, tuple(both.args)
    return True


def _place(node: Node) -> bool:
    """`argmax` over channels as a map of numbers, which become integers."""
    if node.target is not _ATEN.argmax.default:
        return False
    given = arguments(node)
    source, keeps = given["self"], given["keepdim"]
    value = source.meta["val"]
    if given["dim"] not in (1, -3) or value.dim() != 4 or value.dtype != torch.float32:
        return False
    place = _before(node, CHANNEL_ARGMAX, (source, [1], True), value[:, :1].clone())
    if not keeps:
        place = _before(node, _ATEN.squeeze.dim, (place, 1), value[:, 0].clone())
    node.target, node.args, node.kwargs = _ATEN.to.dtype, (place, torch.int64), {}
    return True


def _sum(node: Node) -> bool:
    if node.target is not _ATEN.addcmul.default:
        return False
    first, *factors = node.args
    values = [each.meta["val"] for each in factors if isinstance(each, Node)]
    if len(values) != 2:
        return False
    value = values[0] * values[1]
    product = _before(node, _ATEN.mul.Tensor, tuple(factors), value)
    share: Any = node.kwargs.get("value", 1)
    if share != 1:
        product = _before(node, _ATEN.mul.Tensor, (product, share), value)
    node.target, node.args, node.kwargs = _ATEN.add.Tensor, (first, product), {}
    return True


def _before(node: Node, operator: Any, args: tuple[Any, ...], value: Tensor) -> Node:
    """An operation in front of a node, whose result is like a value."""
    with node.graph.inserting_before(node):
        made = node.graph.call_function(operator, args)
    made.meta = {**node.meta, "val": value}
    return made
