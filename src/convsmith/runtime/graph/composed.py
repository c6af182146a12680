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
from convsmith.runtime.graph.own import (
    ADAPTIVE_MAXIMA,
    CHANNEL_ARGMAX,
    CHANNEL_RESPONSE_NORM,
)

__all__ = ["has_composed", "in_parts"]

_ATEN = torch.ops.aten
_COMPOSED = {
    _ATEN.argmax.default, _ATEN.addcmul.default, _ATEN.adaptive_max_pool2d.default,
    _ATEN.avg_pool3d.default,
}  # fmt: skip
_RESPONSES = [
    _ATEN.pow.Tensor_Scalar, _ATEN.add.Tensor, _ATEN.mul.Tensor, _ATEN.view.default,
    _ATEN.squeeze.dim, _ATEN.avg_pool3d.default, _ATEN.pad.default, _ATEN.view.default,
    _ATEN.mul.Tensor,
]  # fmt: skip
"""What `F.local_response_norm` is made of, from the divisor back to the squares."""


def has_composed(program: ExportedProgram) -> bool:
    """Whether there is something to rewrite."""
    return any(node.target in _COMPOSED for node in program.graph.nodes)


def in_parts(program: ExportedProgram) -> bool:
    """Rewrite operations as kernels know them; every node keeps its name.

    `addcmul` becomes the sum that it is, maxima lose their places, places become numbers, and a
    norm by the channels beside each is one operation.

    Returns:
        Whether anything was changed.
    """
    changed = [
        _sum(node) or _largest(node) or _place(node) or _responses(node)
        for node in list(program.graph.nodes)
    ]
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


def _responses(node: Node) -> bool:
    """The quotient of a map and what `F.local_response_norm` makes of the squares of its channels.

    Nothing else may see what is in between.
    """
    if node.target is not _ATEN.div.Tensor or node.kwargs:
        return False
    source, power = node.args
    steps, step = [], power
    for target in _RESPONSES:
        if not isinstance(step, Node) or step.target is not target or len(step.users) != 1:
            return False
        steps.append(step)
        step = step.args[0]
    added, scaled, pool, pad, squares = (steps[place] for place in (1, 2, 5, 6, 8))
    numbers: list[Any] = [steps[0].args[1], added.args[1], scaled.args[1]]
    size: Any = pool.args[1]
    plain = not any(each.kwargs for each in steps) and all(type(n) in (int, float) for n in numbers)
    if not (plain and isinstance(source, Node) and [*squares.args] == [source, source]):
        return False
    if source.meta["val"].dim() != 4 or type(size[0]) is not int or [*size[1:]] != [1, 1]:
        return False
    sides = [0, 0, 0, 0, size[0] // 2, (size[0] - 1) // 2]
    if [*pad.args[1:]] != [sides] or [*pool.args[2:]] != [[1, 1, 1]]:
        return False
    # By name, as to compare sizes that are free would fix them.
    before, apart, after = (
        [*map(str, each.meta["val"].shape)] for each in (source, steps[7], steps[3])
    )
    if apart != [before[0], "1", *before[1:]] or after != before or steps[4].args[1] != 1:
        return False
    exponent, constant, factor = map(float, numbers)
    node.target = CHANNEL_RESPONSE_NORM
    node.args = (source, size[0], factor, exponent, constant)
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
