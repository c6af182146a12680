"""Sums, means and extremes over axes; softmax; products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node
from convsmith.importing.host import Host, as_tensor, numbers
from convsmith.importing.table import operator

__all__: list[str] = []

_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keep),
}


def _reduce(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    axes = node.attributes.get("axes")
    if len(values) > 1 and values[1] is not None:
        axes = numbers(values[1])
    keep = bool(node.attributes.get("keepdims", 1))
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return value
        axes = list(range(value.dim()))
    return _REDUCTIONS[node.kind](value, list(axes), keep)


for _kind in _REDUCTIONS:
    operator(_kind)(_reduce)


@operator("ReduceProd")
def _product(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    keep = bool(node.attributes.get("keepdims", 1))
    if isinstance(value, Host):
        product: Any = 1
        for number in value.values:
            product = product * number
        return Host((product,), scalar=not keep)
    axes = node.attributes.get("axes")
    if len(values) > 1 and values[1] is not None:
        axes = numbers(values[1])
    for axis in sorted((a % value.dim() for a in axes or range(value.dim())), reverse=True):
        value = value.prod(axis, keep)
    return value


@operator("ArgMax", "ArgMin")
def _arg(node: Node, values: Sequence[Any]) -> Any:
    if node.attributes.get("select_last_index", 0):
        raise node.refuse("selects the last of several, which is not supported")
    function = torch.argmax if node.kind == "ArgMax" else torch.argmin
    axis, keep = node.attributes.get("axis", 0), bool(node.attributes.get("keepdims", 1))
    return function(values[0], axis, keep)


@operator("Softmax", "LogSoftmax")
def _softmax(node: Node, values: Sequence[Any]) -> Any:
    function = F.softmax if node.kind == "Softmax" else F.log_softmax
    value = values[0]
    if node.opset >= 13:
        return function(value, node.attributes.get("axis", -1))
    axis = node.attributes.get("axis", 1) % value.dim()
    if axis == value.dim() - 1:
        return function(value, axis)
    return function(value.flatten(axis), -1).reshape(value.shape)


@operator("MatMul")
def _matmul(node: Node, values: Sequence[Any]) -> Any:
    return torch.matmul(as_tensor(values[0]), as_tensor(values[1]))


@operator("Einsum")
def _einsum(node: Node, values: Sequence[Any]) -> Any:
    return torch.einsum(node.attributes["equation"], *values)


@operator("TopK")
def _topk(node: Node, values: Sequence[Any]) -> Any:
    found = torch.topk(
        values[0], numbers(values[1])[0], node.attributes.get("axis", -1),
        bool(node.attributes.get("largest", 1)), bool(node.attributes.get("sorted", 1)),
    )  # fmt: skip
    return found.values, found.indices
