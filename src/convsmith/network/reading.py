"""From a node of an exported program to an `Operation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import SymBool, SymFloat, SymInt, Tensor
from torch.fx import Node

from convsmith.errors import ArgumentError, kind_and_line
from convsmith.network.families import FAMILIES, FAMILY_OF, kind_of
from convsmith.network.families.family import Arithmetic
from convsmith.network.network import TensorType
from convsmith.network.operations import Operation
from convsmith.network.registry import Registered, registered

__all__ = [
    "arguments",
    "named_arguments",
    "operation_of",
    "read_operation",
    "tensor_type",
    "tensor_types",
]


# What `item` and arithmetic on its results give, and how many bytes that is.
_SYMBOLS = (SymBool, SymFloat, SymInt)
_NUMBERS = {SymBool: ("bool", 1), SymFloat: ("float64", 8), SymInt: ("int64", 8)}


def read_operation(node: Node) -> Operation:
    """The operation of a `call_function` node; whatever cannot be read is `unknown`, by name.

    Raises:
        ArgumentError: for a registered operation whose arguments are not those of the family that
            it was registered with.
    """
    args = arguments(node)
    settings = {key: value for key, value in args.items() if not _nodes(value)}
    operation = operation_of(node.target, settings, _typed(args))
    if operation.custom is None and _computed_places(node.target, args):
        return Operation("index", operation.name, None, operation.settings)
    return operation


def operation_of(target: Any, settings: Mapping[str, Any], typed: Mapping[str, Any]) -> Operation:
    """The operation that a call of `target` is.

    Args:
        target: the operation of PyTorch's library, or a function.
        settings: its arguments without those that hold tensors, by their names in the schema.
        typed: all of its arguments, each tensor as its type.
    """
    settings = MappingProxyType(dict(settings))
    own = registered(_qualified(target))
    if own is not None:
        spec = _registered_arithmetic(target, own, typed)
        label = "" if own.label == own.name else own.label
        return Operation(own.family.kind, own.name, spec, settings, label, own.family)
    name = _name(target)
    overload = getattr(target, "_overloadname", "")
    kind = FAMILY_OF.get(f"{name}.{overload}") or FAMILY_OF.get(name, "unknown")
    if getattr(target, "namespace", "aten") not in ("aten", "convsmith"):
        kind = "unknown"  # someone's own operation that happens to share a name
    family = FAMILIES[kind].of(name)
    if family.arithmetic is None:
        return Operation(kind, name, None, settings)
    try:
        spec = family.arithmetic(name, typed)
    except ArgumentError:
        return Operation("unknown", name, None, settings)  # PyTorch accepts a few windows more
    return Operation(kind_of(spec) if spec else kind, name, spec, settings)


def _registered_arithmetic(
    target: Any, own: Registered, typed: Mapping[str, Any]
) -> Arithmetic | None:
    if own.family.arithmetic is None:
        return None
    try:
        return own.family.arithmetic(own.name, typed)
    except (ArgumentError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = kind_and_line(error)
        raise ArgumentError(
            f"{_qualified(target)!r} cannot be read as {own.family.kind!r}, the family it was "
            f"registered with: its arguments are {', '.join(typed) or 'none'} ({reason})"
        ) from error


def arguments(node: Node) -> dict[str, Any]:
    """All arguments of a node by their names in the schema, defaults filled in."""
    return named_arguments(node.target, node.args, node.kwargs)


def named_arguments(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names in the schema of `target`, defaults filled in."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return {f"argument_{i}": value for i, value in enumerate(args)} | dict(kwargs)
    named: dict[str, Any] = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(args):
            named[argument.name] = args[i]
        elif argument.name in kwargs:
            named[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            named[argument.name] = argument.default_value
    return named


def tensor_type(tensor: Tensor) -> TensorType:
    """The type of a (real, fake or meta) tensor."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return TensorType(tuple(map(int, tensor.shape)), dtype, tensor.element_size())


def tensor_types(node: Node) -> tuple[TensorType, ...]:
    """The types of the tensors that a node gives; a number that is read from one is of no shape."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return tuple(
        tensor_type(each)
        if isinstance(each, Tensor)
        else TensorType((), *_NUMBERS[type(each)], number=True)
        for each in values
        if isinstance(each, Tensor) or type(each) in _NUMBERS
    )


def _name(target: Any) -> str:
    name: str = getattr(target, "_opname", "") or getattr(target, "__name__", str(target))
    bare = name.rstrip("_")
    return bare if bare in FAMILY_OF else name


def _qualified(target: Any) -> str:
    """The name of the operation with its namespace, as `register` takes it; '' for a function."""
    name: str = getattr(getattr(target, "_schema", None), "name", "")
    return name


def _typed(value: Any) -> Any:
    """Arguments with the type of each tensor in place of the node that gives it."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_typed(item) for item in value]
    if isinstance(value, Node):
        tensors = tensor_types(value) if not isinstance(value.meta.get("val"), _SYMBOLS) else ()
        return next(iter(tensors), None)
    return value


def _computed_places(target: Any, args: Mapping[str, Any]) -> bool:
    """Whether the network computes a whole number that says where values lie: an index, a shift."""
    schema = getattr(target, "_schema", None)
    return schema is not None and any(
        "int" in str(argument.type) and _nodes(args.get(argument.name))
        for argument in schema.arguments
    )


def _nodes(value: Any) -> bool:
    """Whether an argument holds a tensor of the graph."""
    if isinstance(value, (tuple, list)):
        return any(_nodes(item) for item in value)
    return isinstance(value, Node)
