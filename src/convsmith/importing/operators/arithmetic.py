"""Element by element: arithmetic, comparisons, activations."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.importing.file import Node
from convsmith.importing.host import Host, as_tensor, tensor_of
from convsmith.importing.table import operator

__all__: list[str] = []

_BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "Add": (torch.add, python.add), "Sub": (torch.sub, python.sub), "Mul": (torch.mul, python.mul),
    "Pow": (torch.pow, python.pow), "Equal": (torch.eq, python.eq),
    "Greater": (torch.gt, python.gt), "GreaterOrEqual": (torch.ge, python.ge),
    "Less": (torch.lt, python.lt), "LessOrEqual": (torch.le, python.le),
    "And": (torch.logical_and, None), "Or": (torch.logical_or, None),
    "Xor": (torch.logical_xor, None),
}  # fmt: skip
_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs, "Ceil": torch.ceil, "Cos": torch.cos, "Erf": torch.erf, "Exp": torch.exp,
    "Floor": torch.floor, "HardSwish": F.hardswish, "Identity": lambda x: x, "Log": torch.log,
    "Mish": F.mish, "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal,
    "Relu": torch.relu, "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign,
    "Sin": torch.sin, "Softplus": F.softplus, "Softsign": F.softsign, "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}  # fmt: skip


def _binary(node: Node, values: Sequence[Any]) -> Any:
    on_tensors, on_numbers = _BINARY[node.kind]
    return _pairwise(values, on_tensors, on_numbers)


def _pairwise(
    values: Sequence[Any],
    on_tensors: Callable[..., Any],
    on_numbers: Callable[..., Any] | None,
) -> Any:
    one, other = values
    if not isinstance(one, Tensor) and not isinstance(other, Tensor) and on_numbers is not None:
        return _of_numbers(one, other, on_numbers)
    like = one if isinstance(one, Tensor) else other if isinstance(other, Tensor) else None
    a, b = _operand(one, like), _operand(other, like)
    if not isinstance(a, Tensor):
        assert isinstance(b, Tensor) or like is None
        a = torch.as_tensor(a, dtype=b.dtype if isinstance(b, Tensor) else None)
    return on_tensors(a, b)


def _of_numbers(one: Any, other: Any, compute: Callable[..., Any]) -> Any:
    if not isinstance(one, Host) and not isinstance(other, Host):
        return compute(one, other)
    a = one.values if isinstance(one, Host) else (one,)
    b = other.values if isinstance(other, Host) else (other,)
    length = max(len(a), len(b))
    a, b = (each * length if len(each) == 1 else each for each in (a, b))
    scalar = all(not isinstance(each, Host) or each.scalar for each in (one, other))
    return Host(tuple(compute(p, q) for p, q in zip(a, b, strict=True)), scalar)


def _operand(value: Any, like: Tensor | None) -> Any:
    """A tensor, or a number where it stands for one in any shape."""
    if isinstance(value, Host):
        return value.values[0] if len(value.values) == 1 else as_tensor(value, like)
    return value


def _unary(node: Node, values: Sequence[Any]) -> Any:
    value = values[0]
    if isinstance(value, Host) and node.kind in _OF_SIZES:
        return value.like([_OF_SIZES[node.kind](number) for number in value.values])
    return _UNARY[node.kind](as_tensor(value))


_OF_SIZES: dict[str, Callable[[Any], Any]] = {
    "Ceil": math.ceil, "Floor": math.floor, "Identity": lambda number: number, "Neg": python.neg,
}  # fmt: skip

for _kind in _BINARY:
    operator(_kind)(_binary)
for _kind in _UNARY:
    operator(_kind)(_unary)


@operator("Div")
def _div(node: Node, values: Sequence[Any]) -> Any:
    whole = [not isinstance(v, float) and not _is_real(v) for v in values]
    if all(whole):  # whole numbers are cut off towards zero, and sizes are not negative
        return _pairwise(
            values, lambda a, b: torch.div(a, b, rounding_mode="trunc"), python.floordiv
        )
    return _pairwise(values, torch.div, python.truediv)


def _is_real(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return any(isinstance(v, (float, torch.SymFloat)) for v in value.values)


@operator("Mod")
def _mod(node: Node, values: Sequence[Any]) -> Any:
    if node.attributes.get("fmod", 0):
        return _pairwise(values, torch.fmod, None)
    return _pairwise(values, torch.remainder, python.mod)


@operator("Max", "Min", "Sum", "Mean")
def _several(node: Node, values: Sequence[Any]) -> Any:
    names: dict[str, Any] = {"Max": torch.maximum, "Min": torch.minimum}
    result = as_tensor(values[0])
    for value in values[1:]:
        other = as_tensor(value)
        if not isinstance(other, Tensor):
            other = torch.as_tensor(other, dtype=result.dtype)
        if not isinstance(result, Tensor):
            result = torch.as_tensor(result, dtype=other.dtype)
        result = names.get(node.kind, torch.add)(result, other)
    return result / len(values) if node.kind == "Mean" else result


@operator("Clip")
def _clip(node: Node, values: Sequence[Any]) -> Any:
    low, high = [*values[1:], None, None][:2]
    if low is None:
        low = node.attributes.get("min")
    if high is None:
        high = node.attributes.get("max")
    bounds = [_operand(bound, None) for bound in (low, high)]
    if all(bound is None or isinstance(bound, Tensor) for bound in bounds):
        return torch.clamp(values[0], *bounds) if any(b is not None for b in bounds) else values[0]
    if bounds == [0.0, 6.0]:
        return F.relu6(values[0])
    return torch.clamp(values[0], *bounds)


@operator("LeakyRelu")
def _leaky(node: Node, values: Sequence[Any]) -> Any:
    return F.leaky_relu(values[0], node.attributes.get("alpha", 0.01))


@operator("Elu", "Celu")
def _elu(node: Node, values: Sequence[Any]) -> Any:
    function = F.elu if node.kind == "Elu" else F.celu
    return function(values[0], node.attributes.get("alpha", 1.0))


@operator("Selu")
def _selu(node: Node, values: Sequence[Any]) -> Any:
    alpha = node.attributes.get("alpha", 1.6732631921768188)
    gamma = node.attributes.get("gamma", 1.0507010221481323)
    return gamma * F.elu(values[0], alpha)


@operator("Gelu")
def _gelu(node: Node, values: Sequence[Any]) -> Any:
    return F.gelu(values[0], approximate=node.attributes.get("approximate", "none"))


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, values: Sequence[Any]) -> Any:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if np.isclose(alpha, 1 / 6, atol=1e-7) and beta == 0.5:
        return F.hardsigmoid(values[0])
    return torch.clamp(values[0] * alpha + beta, 0.0, 1.0)


@operator("PRelu")
def _prelu(node: Node, values: Sequence[Any]) -> Any:
    value, slope = values[0], as_tensor(values[1])
    others = value.dim() - 1  # those of a slope for each channel
    each = slope.dim() >= others > 0 and slope.shape[slope.dim() - others] == value.shape[1]
    if slope.numel() == 1 or (each and slope.numel() == value.shape[1]):
        return F.prelu(value, slope.reshape(-1))
    return torch.where(value > 0, value, value * slope)


@operator("Where")
def _where(node: Node, values: Sequence[Any]) -> Any:
    condition, *both = values
    if all(isinstance(value, Host) for value in values):
        picks = zip(condition.values, *(each.values for each in both), strict=True)
        return both[0].like([a if c else b for c, a, b in picks])
    a, b = (tensor_of(each) for each in both)
    if not isinstance(both[0], Tensor):
        a = a.to(b.dtype)
    if not isinstance(both[1], Tensor):
        b = b.to(a.dtype)
    return torch.where(as_tensor(condition).bool(), a, b)


@operator("Dropout")
def _dropout(node: Node, values: Sequence[Any]) -> Any:
    return values[0]


@operator("IsNaN")
def _is_nan(node: Node, values: Sequence[Any]) -> Any:
    return torch.isnan(values[0])
