"""From a node of an exported program to an `Operation`."""

from __future__ import annotations

from math import prod
from types import MappingProxyType
from typing import Any

from torch import Tensor
from torch.fx import Node

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.errors import ArgumentError
from convsmith.network.network import TensorType
from convsmith.network.operations import Operation
from convsmith.network.vocabulary import FAMILY

__all__ = ["arguments", "read_operation", "tensor_type", "tensor_types"]


def read_operation(node: Node) -> Operation:
    """The operation of a `call_function` node; whatever cannot be read is `unknown`, by name."""
    name = _name(node)
    kind = FAMILY.get(name, "unknown")
    given = arguments(node)
    settings = MappingProxyType({key: value for key, value in given.items() if not _nodes(value)})
    if getattr(node.target, "namespace", "aten") != "aten":
        kind = "unknown"  # an operation of somebody's own that happens to share a name
    try:
        if kind in ("convolution", "transposed convolution"):
            layer = _convolution(given)
            kind = "transposed convolution" if layer.transposed else "convolution"
            return Operation(kind, name, layer, settings)
        if kind == "pool":
            return Operation(kind, name, _pool(name, given), settings)
        if kind == "adaptive pool" and (pool := _adaptive_pool(name, given)):
            return Operation("pool", name, pool, settings)
    except ArgumentError:
        kind = "unknown"  # PyTorch accepts a few windows that our arithmetic refuses
    return Operation(kind, name, None, settings)


def arguments(node: Node) -> dict[str, Any]:
    """All arguments of a node by their names in the schema, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {f"argument_{i}": value for i, value in enumerate(node.args)} | dict(node.kwargs)
    found: dict[str, Any] = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args):
            found[argument.name] = node.args[i]
        elif argument.name in node.kwargs:
            found[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def tensor_type(tensor: Tensor) -> TensorType:
    """The type of a (real, fake or meta) tensor."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorType(tuple(map(int, tensor.shape)), dtype, tensor.element_size())


def tensor_types(node: Node) -> tuple[TensorType, ...]:
    """The types of the tensors that a node gives."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return tuple(tensor_type(tensor) for tensor in values if isinstance(tensor, Tensor))


def _name(node: Node) -> str:
    target: Any = node.target
    name: str = getattr(target, "_opname", "") or getattr(target, "__name__", str(target))
    bare = name.rstrip("_")
    return bare if bare in FAMILY else name


def _nodes(value: Any) -> bool:
    """Whether an argument holds a tensor of the graph."""
    if isinstance(value, (tuple, list)):
        return any(_nodes(item) for item in value)
    return isinstance(value, Node)


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(int(length) for length in node.meta["val"].shape)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    """PyTorch's schema lists: one value stands for every axis."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * dims if len(values) == 1 else values)


def _convolution(given: dict[str, Any]) -> Conv | ConvTranspose:
    weight = _shape(given["weight"])
    dims, groups = len(weight) - 2, given["groups"]
    padding = given["padding"]
    common = {
        "kernel_size": weight[2:],
        "stride": _each(given["stride"], dims),
        "padding": padding if isinstance(padding, str) else _each(padding, dims),
        "dilation": _each(given["dilation"], dims),
        "groups": groups,
        "bias": given.get("bias") is not None,
        "dims": dims,
    }
    if given.get("transposed", "output_padding" in given):
        extra = _each(given["output_padding"], dims)
        return ConvTranspose(weight[0], weight[1] * groups, output_padding=extra, **common)
    return Conv(weight[1] * groups, weight[0], **common)


def _pool(name: str, given: dict[str, Any]) -> Pool:
    dims = int(name.split("pool")[1][0])
    kernel = _each(given["kernel_size"], dims)
    if given.get("divisor_override") is not None:
        raise ArgumentError("an average with a divisor of its own is no plain average")
    return Pool(
        kernel,
        _each(given["stride"] or kernel, dims),
        _each(given["padding"], dims),
        _each(given.get("dilation", 1), dims),
        ceil_mode=given["ceil_mode"],
        kind="max" if name.startswith("max") else "average",
        count_include_pad=given.get("count_include_pad", True),
        dims=dims,
    )


def _adaptive_pool(name: str, given: dict[str, Any]) -> Pool | None:
    """The plain pool that an adaptive one is where its output divides its input, else None."""
    dims = int(name[-2])
    wanted = given["output_size"]
    size = _shape(given["self"])[-dims:]
    wanted = _each(wanted, dims)
    if wanted == (1,) * dims or any(n % w for n, w in zip(size, wanted, strict=True)):
        return None
    if prod(size) == 0:
        return None
    kernel = tuple(n // w for n, w in zip(size, wanted, strict=True))
    return Pool(kernel, kind="max" if "max" in name else "average", dims=dims)
