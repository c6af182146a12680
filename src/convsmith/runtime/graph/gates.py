"""Vectors of numbers for each channel that come from a map and gate one, as maps of one pixel.

Squeeze-and-excite by linear layers (arXiv:1709.01507) and ECA (arXiv:1910.03151) take the mean of a
map as a vector, compute with that, and view it as a map of one pixel again. As maps of one pixel
all along, they are computed in the region of the maps around them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from convsmith.network.reading import arguments
from convsmith.runtime.graph.own import CHANNEL_CONVOLUTION
from convsmith.runtime.graph.twins import Form, Twins, by_weights, shape_of

__all__ = ["VECTORS"]

_ATEN = torch.ops.aten
_VIEWS = {
    _ATEN.view.default, _ATEN.reshape.default, _ATEN.flatten.using_ints, _ATEN.unsqueeze.default,
    _ATEN.squeeze.dim, _ATEN.squeeze.dims, _ATEN.squeeze.default,
}  # fmt: skip


def _begins(graph: Graph, node: Node) -> Node | None:
    """A mean over the map; a map of one pixel that is viewed as a vector."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node) or not isinstance(node.meta.get("val"), Tensor):
        return None
    if node.target in _VIEWS and _is_pixel(shape_of(source)) and _is_vector(node, source):
        return source
    if node.target is _ATEN.mean.dim and len(shape_of(source)) == 4 and len(shape_of(node)) == 2:
        dims: Any = node.args[1]
        if sorted(dim % 4 for dim in dims) == [2, 3] and "dtype" not in node.kwargs:
            return graph.call_function(_ATEN.mean.dim, (source, dims, True))
    return None


def _ends(node: Node, twins: Twins) -> Node | None:
    twin = twins.get(node.args[0]) if node.args else None
    if node.target not in _VIEWS or twin is None:
        return None
    return twin if [*map(str, shape_of(node))] == [*map(str, shape_of(twin))] else None


def _is_pixel(shape: tuple[Any, ...]) -> bool:
    return len(shape) == 4 and all(isinstance(n, int) and n == 1 for n in shape[2:])


def _is_vector(node: Node, pixel: Node) -> bool:
    """Whether its axes are the batch, the channels, and perhaps one of length 1."""
    (batch, channels, *_), shape = shape_of(pixel), shape_of(node)
    return (
        isinstance(channels, int)
        and str(shape[0]) == str(batch)
        and [*map(str, shape[1:])] in ([f"{channels}"], [f"{channels}", "1"], ["1", f"{channels}"])
    )


def _view(graph: Graph, node: Node, twins: Twins) -> Node | None:
    twin = twins[node.args[0]]
    return twin if _is_vector(node, twin) else None


def _linear(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """Of vectors whose last axis is the channels."""
    source = node.args[0]
    if source not in twins or shape_of(source)[-1] != shape_of(twins[source])[1]:
        return None
    return by_weights(graph, node, twins)


def _convolution(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """Along the channels, whose number stays."""
    given = arguments(node)
    source, weight = given["input"], given["weight"]
    taps = shape_of(weight)
    if source not in twins or weight in twins or taps[:2] != (1, 1) or taps[2] % 2 == 0:
        return None
    if shape_of(source)[2] != shape_of(twins[source])[1]:
        return None
    window = [given["stride"], given["padding"], given["dilation"]]
    if window != [[1], [taps[2] // 2], [1]]:
        return None
    return graph.call_function(CHANNEL_CONVOLUTION, (twins[source], weight, given["bias"]))


def _batch_norm(graph: Graph, node: Node, twins: Twins) -> Node | None:
    source, *rest = node.args
    if source not in twins or node.kwargs or any(value in twins for value in rest):
        return None
    if shape_of(source)[1] != shape_of(twins[source])[1]:
        return None
    return graph.call_function(_ATEN.batch_norm.default, (twins[source], *rest))


def _elementwise(graph: Graph, node: Node, twins: Twins) -> Node | None:
    """Of two vectors alike, or of one and a number."""
    values = node.args[:2]
    shapes = {tuple(map(str, shape_of(value))) for value in values if isinstance(value, Node)}
    if len(shapes) > 1 or any(isinstance(v, Node) and v not in twins for v in values):
        return None
    operator: Any = node.target
    moved = [twins.get(value, value) for value in values]
    return graph.call_function(operator, (*moved, *node.args[2:]), dict(node.kwargs))


VECTORS = Form(
    begins=_begins,
    may_end=lambda node: node.target in _VIEWS and _is_pixel(shape_of(node)),
    ends=_ends,
    value=lambda value: value.flatten(1)[:, :, None, None],
    rules={
        **dict.fromkeys(_VIEWS, _view),
        _ATEN.linear.default: _linear,
        _ATEN.conv1d.default: _convolution,
        _ATEN.conv1d.padding: lambda graph, node, twins: None,
        _ATEN.batch_norm.default: _batch_norm,
        _ATEN.add.Tensor: _elementwise,
        _ATEN.sub.Tensor: _elementwise,
        _ATEN.mul.Tensor: _elementwise,
        _ATEN.div.Tensor: _elementwise,
    },
)
