"""Networks over one axis, of sounds and series, as networks over maps of one row.

Kernels take maps: a convolution along one axis is one of a map with a height of 1. Each value
(N, C, L) gets a twin (N, C, 1, L), from the first convolution on and as far as operations know how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from convsmith.network.families import FAMILIES, Trait
from convsmith.network.reading import arguments, read_operation
from convsmith.runtime.graph.glu import glu_as_products
from convsmith.runtime.graph.twins import Twins, shape_of

__all__ = ["has_lines", "lines_as_maps"]

_ATEN = torch.ops.aten
_STARTS = {_ATEN.conv1d.default, _ATEN.conv1d.padding, _ATEN.conv_transpose1d.default}


def has_lines(program: ExportedProgram) -> bool:
    """Whether there may be something to rewrite."""
    return any(node.target in _STARTS for node in program.graph.nodes)


def lines_as_maps(program: ExportedProgram) -> bool:
    """Rewrite a program, of one's own and `functional`, with maps of one row in place of lines.

    Every node keeps its name and its value.

    Returns:
        Whether anything was changed.
    """
    graph = program.graph
    twins: Twins = {}
    changed = False
    for node in list(graph.nodes):
        if node.op != "call_function" or len(shape_of(node)) != 3:
            continue
        with graph.inserting_before(node):
            if node.target in _STARTS:
                _begin(graph, node, twins)
            twin = _twin(graph, node, twins)
            if twin is None:
                continue
            twin.meta = {**node.meta, "val": node.meta["val"].unsqueeze(2)}
            twins[node] = twin
        node.target, node.args, node.kwargs = _ATEN.squeeze.dim, (twin, 2), {}
        changed = True
    graph.eliminate_dead_code()
    if changed:
        program.graph_module.recompile()
        glu_as_products(program)
    return changed


def _begin(graph: Graph, node: Node, twins: Twins) -> None:
    """Give the input of a convolution a twin."""
    source = node.args[0]
    if isinstance(source, Node) and source not in twins and len(shape_of(source)) == 3:
        twins[source] = _unsqueezed(graph, source, 2)


def _unsqueezed(graph: Graph, value: Node, axis: int) -> Node:
    made = graph.call_function(_ATEN.unsqueeze.default, (value, axis))
    made.meta["val"] = value.meta["val"].unsqueeze(axis)
    return made


def _twin(graph: Graph, node: Node, twins: Twins) -> Node | None:
    if not any(value in twins for value in node.all_input_nodes):
        return None
    rule = _RULES.get(node.target)
    if rule is not None:
        made = rule(graph, arguments(node), twins)
        return None if made is None else graph.call_function(*made)
    operation, (first, *rest) = read_operation(node), node.args
    family = FAMILIES[operation.kind].of(operation.name)
    plain = family.has(Trait.POINTWISE) and not family.has(_ALONG)
    value_by_value = plain or operation.kind == "identity"
    alone = isinstance(first, Node) and len(node.all_input_nodes) == 1 and first in twins
    if alone and value_by_value:
        operator: Any = node.target
        return graph.call_function(operator, (twins[first], *rest), dict(node.kwargs))
    return None


_ALONG = Trait.JOINS_AXIS | Trait.ENDS_AXIS | Trait.MIXES_CHANNELS | Trait.VIEW
"""What operations do that have axes as arguments."""

Made = tuple[Any, tuple[Any, ...], dict[str, Any]] | None
"""An operation on maps, and its arguments; None where there is none."""


def _source(given: dict[str, Any], twins: Twins) -> Node | None:
    """The twin of the first argument, where no other one has a twin."""
    first, *rest = given.values()
    return None if any(isinstance(v, Node) and v in twins for v in rest) else twins.get(first)


def _wide(values: Any, before: Any) -> list[Any]:
    """What an operation along one axis has for it, and what it then has for rows."""
    values = [values] if isinstance(values, (int, float)) else list(values)
    return [before, *values] if values else []


def _convolution(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        source, weight = _source(given, twins), given["weight"]
        if source is None or not isinstance(weight, Node) or len(shape_of(weight)) != 3:
            return None
        neutral = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        rest = [
            _wide(value, neutral[name]) if name in neutral and type(value) is not str else value
            for name, value in list(given.items())[2:]
        ]
        return operator, (source, _unsqueezed(graph, weight, 2), *rest), {}

    return rule


def _pool(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        source = _source(given, twins)
        neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_size": 1}
        rest = [
            _wide(value, neutral[name]) if name in neutral else value
            for name, value in list(given.items())[1:]
        ]
        return None if source is None else (operator, (source, *rest), {})

    return rule


def _upsample(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        source, size, factors = _source(given, twins), given["output_size"], given["scale_factors"]
        if source is None:
            return None
        sizes = [None if size is None else _wide(size, 1)]
        sizes += [given["align_corners"]] if "align_corners" in given else []
        return operator, (source, *sizes, None if factors is None else _wide(factors, 1.0)), {}

    return rule


def _same(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    """Of operations that take lines and maps alike."""

    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        source = _source(given, twins)
        return None if source is None else (operator, (source, *list(given.values())[1:]), {})

    return rule


def _axis(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    """Of operations along one axis."""

    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        source = _source(given, twins)
        moved = {**given, "dim": _AXES[given["dim"] % 3]}
        return None if source is None else (operator, (source, *list(moved.values())[1:]), {})

    return rule


_AXES = (0, 1, 3)
"""For each axis of a line, the one that it is of the map."""


def _pad(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
    source = twins.get(given["self"])
    if source is None or len(given["pad"]) != 2:
        return None
    return _ATEN.pad.default, (source, [*given["pad"], 0, 0], given["mode"], given["value"]), {}


def _cat(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
    parts = given["tensors"]
    if not all(part in twins for part in parts):
        return None
    return _ATEN.cat.default, ([twins[part] for part in parts], _AXES[given["dim"] % 3]), {}


def _elementwise(operator: Any) -> Callable[[Graph, dict[str, Any], Twins], Made]:
    """Of two lines, or of a line and what is repeated along it."""

    def rule(graph: Graph, given: dict[str, Any], twins: Twins) -> Made:
        one, other, *rest = given.values()
        values: list[Any] = []
        for value in (one, other):
            if isinstance(value, Node) and value not in twins and shape_of(value):
                values.append(_unsqueezed(graph, value, -2))
            else:
                values.append(twins.get(value, value))
        return operator, tuple(values), {"alpha": rest[0]} if rest else {}

    return rule


_RULES: dict[Any, Callable[[Graph, dict[str, Any], Twins], Made]] = {
    _ATEN.conv1d.default: _convolution(_ATEN.conv2d.default),
    _ATEN.conv1d.padding: _convolution(_ATEN.conv2d.padding),
    _ATEN.conv_transpose1d.default: _convolution(_ATEN.conv_transpose2d.input),
    _ATEN.max_pool1d.default: _pool(_ATEN.max_pool2d.default),
    _ATEN.avg_pool1d.default: _pool(_ATEN.avg_pool2d.default),
    _ATEN.adaptive_avg_pool1d.default: _pool(_ATEN.adaptive_avg_pool2d.default),
    _ATEN.upsample_nearest1d.vec: _upsample(_ATEN.upsample_nearest2d.vec),
    _ATEN.upsample_linear1d.vec: _upsample(_ATEN.upsample_bilinear2d.vec),
    _ATEN.batch_norm.default: _same(_ATEN.batch_norm.default),
    _ATEN.group_norm.default: _same(_ATEN.group_norm.default),
    _ATEN.instance_norm.default: _same(_ATEN.instance_norm.default),
    _ATEN.prelu.default: _same(_ATEN.prelu.default),
    _ATEN.glu.default: _axis(_ATEN.glu.default),
    _ATEN.softmax.int: _axis(_ATEN.softmax.int),
    _ATEN.slice.Tensor: _axis(_ATEN.slice.Tensor),
    _ATEN.pad.default: _pad,
    _ATEN.cat.default: _cat,
    _ATEN.add.Tensor: _elementwise(_ATEN.add.Tensor),
    _ATEN.sub.Tensor: _elementwise(_ATEN.sub.Tensor),
    _ATEN.mul.Tensor: _elementwise(_ATEN.mul.Tensor),
    _ATEN.div.Tensor: _elementwise(_ATEN.div.Tensor),
}
"""How operations compute on maps of one row. Activations and the like need no rule."""
