"""Pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node
from convsmith.importing.operators.windows import Windows
from convsmith.importing.table import operator

__all__: list[str] = []

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: Any = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@operator("MaxPool")
def _max_pool(node: Node, values: Sequence[Any]) -> Any:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refuse("gives the places of its maxima, which is not supported")
    value = values[0]
    windows = Windows.of(node, value.dim() - 2)
    value, padding = windows.padded(value, float("-inf"), at_most_half=True)
    return _MAX[value.dim() - 2](
        value, windows.kernel, windows.stride, padding, windows.dilation, windows.ceil
    )


@operator("AveragePool")
def _average_pool(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    windows = Windows.of(node, value.dim() - 2)
    if any(n != 1 for n in windows.dilation):
        raise node.refuse("is dilated, which is not supported")
    counted = bool(node.attributes.get("count_include_pad", 0))
    if windows.symmetric is None and not counted:
        ones = F.pad(torch.ones_like(value), windows.flat)
        value = F.pad(value, windows.flat)
        pool = _AVERAGE[value.dim() - 2]
        options = windows.kernel, windows.stride, 0, windows.ceil
        return pool(value, *options) / pool(ones, *options)
    value, padding = windows.padded(value, 0.0, at_most_half=True)
    return _AVERAGE[value.dim() - 2](
        value, windows.kernel, windows.stride, padding, windows.ceil, counted
    )


@operator("GlobalAveragePool")
def _global_average(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    if value.dim() == 4:
        return F.adaptive_avg_pool2d(value, 1)
    return value.mean(_space(value), keepdim=True)


@operator("GlobalMaxPool")
def _global_max(node: Node, values: Sequence[Any]) -> Any:
    return values[0].amax(_space(values[0]), keepdim=True)


def _space(value: Tensor) -> list[int]:
    return list(range(2, value.dim()))


@operator("LRN")
def _lrn(node: Node, values: Sequence[Any]) -> Any:
    size = node.attributes["size"]
    alpha, beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    return F.local_response_norm(values[0], size, alpha, beta, node.attributes.get("bias", 1.0))
