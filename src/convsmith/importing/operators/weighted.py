"""Operators with weights that are not constants, or that no module of `torch.nn` computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from convsmith.importing.file import Node
from convsmith.importing.operators.windows import Windows
from convsmith.importing.table import operator

__all__: list[str] = []

_CONV: Any = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Any = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv")
def _conv(node: Node, values: Sequence[Any]) -> Any:
    value, weight, bias = [*values, None][:3]
    axes = weight.dim() - 2
    windows = Windows.of(node, axes, weight.shape[2:])
    value, padding = windows.padded(value, 0.0)
    group = node.attributes.get("group", 1)
    return _CONV[axes](value, weight, bias, windows.stride, padding, windows.dilation, group)


@operator("ConvTranspose")
def _conv_transpose(node: Node, values: Sequence[Any]) -> Any:
    value, weight, bias = [*values, None][:3]
    axes = weight.dim() - 2
    windows = Windows.of(node, axes, weight.shape[2:])
    if node.attributes.get("output_shape") or windows.symmetric is None:
        raise node.refuse("crops its two ends differently, which is not supported")
    more = tuple(node.attributes.get("output_padding") or (0,) * axes)
    group = node.attributes.get("group", 1)
    return _TRANSPOSED[axes](
        value, weight, bias, windows.stride, windows.before, more, group, windows.dilation
    )


@operator("Gemm")
def _gemm(node: Node, values: Sequence[Any]) -> Any:
    a, b, c = [*values, None][:3]
    a = a.t() if node.attributes.get("transA", 0) else a
    b = b.t() if node.attributes.get("transB", 0) else b
    result = node.attributes.get("alpha", 1.0) * (a @ b)
    return result if c is None else result + node.attributes.get("beta", 1.0) * c


@operator("BatchNormalization")
def _batch_norm(node: Node, values: Sequence[Any]) -> Any:
    value, scale, bias, mean, variance = values
    epsilon = node.attributes.get("epsilon", 1e-5)
    return F.batch_norm(value, mean, variance, scale, bias, False, 0.0, epsilon)


@operator("InstanceNormalization")
def _instance_norm(node: Node, values: Sequence[Any]) -> Any:
    value, scale, bias = values
    return F.instance_norm(value, None, None, scale, bias, eps=node.attributes.get("epsilon", 1e-5))


@operator("LayerNormalization")
def _layer_norm(node: Node, values: Sequence[Any]) -> Any:
    value, scale, bias = [*values, None][:3]
    axis = node.attributes.get("axis", -1)
    shape = value.shape[axis:]
    return F.layer_norm(value, shape, scale, bias, node.attributes.get("epsilon", 1e-5))


@operator("GroupNormalization")
def _group_norm(node: Node, values: Sequence[Any]) -> Any:
    value, scale, bias = values
    groups = node.attributes["num_groups"]
    if node.opset < 21:  # one number per group
        each = value.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(value, groups, scale, bias, node.attributes.get("epsilon", 1e-5))


@operator("LpNormalization")
def _lp_norm(node: Node, values: Sequence[Any]) -> Any:
    axis, p = node.attributes.get("axis", -1), node.attributes.get("p", 2)
    return values[0] / torch.linalg.vector_norm(values[0], p, axis, keepdim=True)
