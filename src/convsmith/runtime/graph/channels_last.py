"""Maps with the channels last, between two permutations, as maps with the channels first.

ConvNeXt (arXiv:2201.03545) and its kin permute each map for a layer norm and two linear layers,
and permute it back. Kernels take maps whose channels come second; a linear layer is then a
pointwise convolution, and a layer norm one over the channels of each pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from convsmith.network.reading import arguments
from convsmith.runtime.graph.own import CHANNEL_NORM, CHANNEL_RMS_NORM
from convsmith.runtime.graph.twins import Form, Twins, by_weights, shape_of

__all__ = ["CHANNELS_LAST"]

_ATEN = torch.ops.aten
_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def _begins(graph: Graph, node: Node) -> Node | None:
    source = node.args[0] if node.args else None
    return source if isinstance(source, Node) and _permutation(node) == _LAST else None


def _ends(node: Node, twins: Twins) -> Node | None:
    return twins.get(node.args[0]) if _permutation(node) == _FIRST else None


def _back(node: Node, twin: Node) -> None:
    node.target, node.args, node.kwargs = _ATEN.permute.default, (twin, list(_LAST)), {}


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


def _layer_norm(graph: Graph, node: Node, twins: Twins) -> Node | None:
    source, shape, *rest = node.args
    weight, bias, eps = (*rest, *(None, None, 1e-5)[len(rest) :])[:3]
    if source not in twins or len(shape) != 1 or node.kwargs:  # type: ignore[arg-type]
        return None
    if any(value in twins for value in (weight, bias)):
        return None
    return graph.call_function(CHANNEL_NORM, (twins[source], weight, bias, eps))


def _rms_norm(graph: Graph, node: Node, twins: Twins) -> Node | None:
    given = arguments(node)
    if given["input"] not in twins or len(given["normalized_shape"]) != 1:
        return None
    if given["weight"] in twins:
        return None
    return graph.call_function(
        CHANNEL_RMS_NORM, (twins[given["input"]], given["weight"], given["eps"])
    )


def _reduction(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """Over some axes, which stay as such of length 1."""
    given = arguments(node)
    source, dims = given.pop("self"), given.get("dim")
    if source not in twins or not given.get("keepdim") or not dims:
        return None
    moved = {**given, "dim": [_FIRST_OF[dim % 4] for dim in dims]}
    operator: Any = node.target
    return graph.call_function(operator, (twins[source],), moved)


def _elementwise(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """Of two maps, or of a map and a number for each channel or for all."""
    values: list[Any] = []
    for value in node.args[:2]:
        axes = len(shape_of(value))
        if value in twins:
            values.append(twins[value])
        elif axes == 0:
            values.append(value)
        elif isinstance(value, Node) and axes in (1, 4):
            operation = (_ATEN.view, [-1, 1, 1]) if axes == 1 else (_ATEN.permute, list(_FIRST))
            moved = graph.call_function(operation[0].default, (value, operation[1]))
            moved.meta["val"] = operation[0].default(value.meta["val"], operation[1])
            values.append(moved)
        else:
            return None
    operator: Any = node.target
    return graph.call_function(operator, (*values, *node.args[2:]), dict(node.kwargs))


def _slice(graph: Graph, node: Node, twins: Twins) -> Node | None:
    source, *rest = node.args
    if node.kwargs or not rest:
        return None
    axis = _FIRST_OF[int(rest[0]) % 4]  # type: ignore[arg-type]
    return graph.call_function(node.target, (twins[source], axis, *rest[1:]))  # type: ignore[arg-type]


def _cat(graph: Graph, node: Node, twins: Twins) -> Node | None:
    parts: Any = node.args[0]
    dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if not all(part in twins for part in parts):
        return None
    maps = [twins[part] for part in parts]
    return graph.call_function(_ATEN.cat.default, (maps, _FIRST_OF[dim % 4]))


_FIRST_OF = (0, 2, 3, 1)
"""For each axis of a map with the channels last, the place it has where they come second."""

CHANNELS_LAST = Form(
    begins=_begins,
    may_end=lambda node: _permutation(node) == _FIRST,
    ends=_ends,
    value=lambda value: value.permute(_FIRST),
    back=_back,
    rules={
        _ATEN.layer_norm.default: _layer_norm,
        _ATEN.linear.default: by_weights,
        _ATEN.add.Tensor: _elementwise,
        _ATEN.sub.Tensor: _elementwise,
        _ATEN.mul.Tensor: _elementwise,
        _ATEN.div.Tensor: _elementwise,
        _ATEN.rms_norm.default: _rms_norm,
        _ATEN.mean.dim: _reduction,
        _ATEN.sum.dim_IntList: _reduction,
        _ATEN.linalg_vector_norm.default: _reduction,
        _ATEN.slice.Tensor: _slice,
        _ATEN.cat.default: _cat,
    },
)
