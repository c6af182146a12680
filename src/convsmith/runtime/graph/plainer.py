"""The same operations as kernels know them: parts of a split as slices of their own."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

__all__ = ["plainer"]

_ATEN = torch.ops.aten
_SPLITS = {
    _ATEN.chunk.default, _ATEN.split.Tensor, _ATEN.split.sizes, _ATEN.split_with_sizes.default,
    _ATEN.tensor_split.sections, _ATEN.tensor_split.indices,
}  # fmt: skip
_VIEWS = {_ATEN.view.default, _ATEN.reshape.default}
_EXPANDED = {_ATEN.expand.default, _ATEN.expand_as.default}
_BROADCAST = {_ATEN.add.Tensor, _ATEN.div.Tensor, _ATEN.mul.Tensor, _ATEN.sub.Tensor}
_EXTREMES: dict[Any, Any] = {
    _ATEN.max.dim: _ATEN.amax.default,
    _ATEN.min.dim: _ATEN.amin.default,
}
_COPIES = {_ATEN.contiguous.default, _ATEN.clone.default}


def plainer(program: ExportedProgram) -> bool:
    """Rewrite a program, of one's own and `functional`, without splits and the like by views.

    Every node keeps its name and its value; parts of a split stay views of what is split.

    Returns:
        Whether anything was changed.
    """
    changed = False
    for node in program.graph.nodes:
        if node.op == "call_function" and (
            _as_slice(node) or _as_shuffle(node) or _as_broadcast(node) or _as_largest(node)
        ):
            changed = True
    if changed:
        program.graph.eliminate_dead_code()
        program.graph_module.recompile()
    return changed


def _as_slice(node: Node) -> bool:
    """A part of a split becomes a slice of what is split."""
    split = node.args[0] if node.target is operator.getitem else None
    if not isinstance(split, Node) or split.target not in _SPLITS:
        return False
    source: Any = split.args[0]
    dim: Any = split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0)
    lengths = [part.shape[dim] for part in split.meta["val"]]
    if not all(isinstance(length, int) for length in lengths):
        return False
    place: Any = node.args[1]
    start = sum(lengths[: place % len(lengths)])
    node.target, node.kwargs = _ATEN.slice.Tensor, {}
    node.args = (source, dim % source.meta["val"].dim(), start, start + lengths[place])
    return True


def _as_shuffle(node: Node) -> bool:
    """`view(n, g, c // g, h, w).transpose(1, 2).view(n, c, h, w)` is a channel shuffle.

    Where nothing else sees what is between, as ShuffleNet has it (arXiv:1807.11164).
    """
    if node.target not in _VIEWS:
        return False
    moved = _source(node)
    while moved is not None and moved.target in _COPIES:
        moved = _source(moved)
    if moved is None or moved.target is not _ATEN.transpose.int:
        return False
    apart = _source(moved)
    source = None if apart is None or apart.target not in _VIEWS else apart.args[0]
    if apart is None or not isinstance(source, Node) or {*moved.args[1:]} != {1, 2}:
        return False
    before, between, after = (_shape(n) for n in (source, apart, node))
    if len(before) != 4 or len(between) != 5 or not isinstance(before[1], int):
        return False
    # By name, as to compare sizes that are free would fix them.
    groups, expected = between[1], (before[0], *between[1:3], *before[2:])
    if [*map(str, after)] != [*map(str, before)] or [*map(str, between)] != [*map(str, expected)]:
        return False
    if not isinstance(groups, int) or not 1 < groups < before[1]:
        return False  # nothing is moved, and the result is a view
    node.target, node.args, node.kwargs = _ATEN.channel_shuffle.default, (source, groups), {}
    return True


def _as_broadcast(node: Node) -> bool:
    """A product with a gate that was expanded to the size of the map is one with the gate.

    So is a quotient, as in `F.normalize`, a sum or a difference.
    """
    if node.target not in _BROADCAST:
        return False
    for place, value in enumerate(node.args[:2]):
        if not isinstance(value, Node) or value.target not in _EXPANDED:
            continue
        gate, other = value.args[0], node.args[1 - place]
        if not isinstance(gate, Node) or other is value or len(_shape(gate)) != 4:
            continue
        if [*map(str, _shape(other))] == [*map(str, _shape(value))]:
            both = (gate, other) if place == 0 else (other, gate)
            node.args = (*both, *node.args[2:])
            return True
    return False


def _as_largest(node: Node) -> bool:
    """Values of a pool of one window, or of `max` or `min` over channels, without their places."""
    both = node.args[0] if node.target is operator.getitem else None
    if not isinstance(both, Node) or node.args[1] != 0:
        return False
    if any(user.users for user in both.users if user is not node):
        return False
    source: Any = both.args[0]
    if both.target is _ATEN.adaptive_max_pool2d.default and _shape(node)[-2:] == (1, 1):
        dims = [2, 3]
    elif both.target in _EXTREMES and len(_shape(node)) == 4 and both.args[1] in (1, -3):
        dims = [1]
    else:
        return False
    if len(_shape(source)) != 4:
        return False
    target: Any = _EXTREMES.get(both.target, _ATEN.amax.default)
    node.target, node.args, node.kwargs = target, (source, dims, True), {}
    return True


def _source(node: Node) -> Node | None:
    """What a node computes from, if that is for this node alone."""
    source = node.args[0]
    return source if isinstance(source, Node) and len(source.users) == 1 else None


def _shape(node: Any) -> tuple[Any, ...]:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return tuple(value.shape) if isinstance(value, Tensor) else ()
