"""Nodes whose weights are constants, as modules of `torch.nn`, which `lighten` can rewrite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from convsmith.importing.file import Node
from convsmith.importing.operators.windows import Windows

__all__ = ["has_transposed", "layer_for"]

Array = np.ndarray[Any, Any]
_CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def layer_for(node: Node, constants: Mapping[str, Array]) -> nn.Module | None:
    """The module that computes a node from its first input; None where no module of torch does.

    Raises:
        ModelError: for weights whose shapes do not fit each other.
    """
    maker = _MAKERS.get(node.kind)
    rest = [name for name in node.inputs[1:] if name]
    if maker is None or not rest or not all(name in constants for name in rest):
        return None
    arrays = [constants[name] for name in rest]
    if any(array.dtype.kind != "f" for array in arrays):
        return None
    return maker(node, arrays)


def _conv(node: Node, arrays: list[Array]) -> nn.Module | None:
    weight, *bias = arrays
    axes, group = weight.ndim - 2, node.attributes.get("group", 1)
    if axes not in _CONV:
        raise node.refuse(f"has a weight of {weight.ndim} axes")
    windows = Windows.of(node, axes, weight.shape[2:])
    _check(node, tuple(weight.shape[2:]) == windows.kernel, "a weight of another kernel")
    _check(node, group > 0 and weight.shape[0] % group == 0, "groups that do not divide its weight")
    _check(node, all(b.shape == (weight.shape[0],) for b in bias), "a bias of another length")
    padding = windows.symmetric
    if padding is None:
        return None
    layer: Any = _CONV[axes](
        weight.shape[1] * group, weight.shape[0], windows.kernel, windows.stride, padding,
        windows.dilation, group, bool(bias), device="meta",
    )  # fmt: skip
    return _filled(layer, weight=weight, bias=bias[0] if bias else None)


def _conv_transpose(node: Node, arrays: list[Array]) -> nn.Module | None:
    weight, *bias = arrays
    axes, group = weight.ndim - 2, node.attributes.get("group", 1)
    if axes not in _TRANSPOSED:
        raise node.refuse(f"has a weight of {weight.ndim} axes")
    windows = Windows.of(node, axes, weight.shape[2:])
    if windows.symmetric is None or node.attributes.get("output_shape"):
        return None
    _check(node, tuple(weight.shape[2:]) == windows.kernel, "a weight of another kernel")
    _check(node, group > 0 and weight.shape[0] % group == 0, "groups that do not divide its weight")
    outputs = weight.shape[1] * group
    _check(node, all(b.shape == (outputs,) for b in bias), "a bias of another length")
    more = tuple(node.attributes.get("output_padding") or (0,) * axes)
    layer: Any = _TRANSPOSED[axes](
        weight.shape[0], outputs, windows.kernel, windows.stride, windows.before, more, group,
        bool(bias), windows.dilation, device="meta",
    )  # fmt: skip
    return _filled(layer, weight=weight, bias=bias[0] if bias else None)


class _AnyNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whatever the number of axes, which a file does not say."""

    def _check_input_dim(self, input: Any) -> None:
        pass


def _batch_norm(node: Node, arrays: list[Array]) -> nn.Module | None:
    if node.attributes.get("training_mode", 0) or len(arrays) != 4:
        return None
    weight, bias, mean, variance = arrays
    _check(node, all(a.shape == weight.shape for a in arrays), "weights of different lengths")
    layer = _AnyNorm(len(weight), eps=node.attributes.get("epsilon", 1e-5), device="meta")
    layer.num_batches_tracked = None
    return _filled(layer, weight=weight, bias=bias, running_mean=mean, running_var=variance)


def has_transposed(node: Node) -> bool:
    """Whether the weight of a product has a row for each output, as those of torch have."""
    return node.attributes.get("transB", 0) not in (0, None)


def _gemm(node: Node, arrays: list[Array]) -> nn.Module | None:
    given, (weight, *bias) = node.attributes, arrays
    plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0)
    if not plain or weight.ndim != 2:
        return None
    bias = [b[0] if b.ndim == 2 and len(b) == 1 else b for b in bias]
    weight = weight if has_transposed(node) else weight.T
    if any(b.shape != weight.shape[:1] for b in bias):
        return None
    layer = nn.Linear(weight.shape[1], weight.shape[0], bool(bias), device="meta")
    return _filled(layer, weight=weight, bias=bias[0] if bias else None)


def _matmul(node: Node, arrays: list[Array]) -> nn.Module | None:
    weight, *bias = arrays
    if weight.ndim != 2:
        return None
    weight = weight if has_transposed(node) else weight.T
    layer = nn.Linear(weight.shape[1], weight.shape[0], bool(bias), device="meta")
    return _filled(layer, weight=weight, bias=bias[0] if bias else None)


_MAKERS: dict[str, Callable[[Node, list[Array]], nn.Module | None]] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def _check(node: Node, holds: bool, why: str) -> None:
    if not holds:
        raise node.refuse(f"has {why}")


def _filled(layer: nn.Module, **arrays: Array | None) -> nn.Module:
    """A layer with these values."""
    for name, array in arrays.items():
        if array is None:
            continue
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if name.startswith("running"):
            layer.register_buffer(name, tensor)
        else:
            layer.register_parameter(name, nn.Parameter(tensor))
    return layer
