"""From a node of an exported program to an `Operation`."""

from __future__ import annotations

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

__all__ = ["arguments", "read_operation", "tensor_type", "tensor_types"]


# What `item` and arithmetic on its results give, and how many bytes that is.
_SYMBOLS = (SymBool, SymFloat, SymInt)
_NUMBERS = {SymBool: ("bool", 1), SymFloat: ("float64", 8), SymInt: ("int64", 8)}


def read_operation(node: Node) -> Operation:
    """The operation of a `call_function` node; whatever cannot be read is `unknown`, by name.

    Raises:
        ArgumentError: for a registered operation whose arguments are not those of the family that
            it was registered with.
    """
    given = arguments(node)
    settings = MappingProxyType({key: value for key, value in given.items() if not _nodes(value)})
    own = registered(_qualified(node))
    if own is not None:
        spec = _registered_arithmetic(node, own, given)
        label = "" if own.label == own.name else own.label
        return Operation(own.family.kind, own.name, spec, settings, label, own.family)
    name = _name(node)
    overload = getattr(node.target, "_overloadname", "")
    kind = FAMILY_OF.get(f"{name}.{overload}") or FAMILY_OF.get(name, "unknown")
    if getattr(node.target, "namespace", "aten") != "aten":
        kind = "unknown"  # someone's own operation that happens to share a name
    family = FAMILIES[kind].of(name)
    if family.arithmetic is None:
        return Operation(kind, name, None, settings)
    try:
        spec = family.arithmetic(name, _typed(given))
    except ArgumentError:
        return Operation("unknown", name, None, settings)  # PyTorch accepts a few windows more
    return Operation(kind_of(spec) if spec else kind, name, spec, settings)


def _registered_arithmetic(node: Node, own: Registered, given: dict[str, Any]) -> Arithmetic | None:
    if own.family.arithmetic is None:
        return None
    try:
        return own.family.arithmetic(own.name, _typed(given))
    except (ArgumentError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = kind_and_line(error)
        raise ArgumentError(
            f"{_qualified(node)!r} cannot be read as {own.family.kind!r}, the family it was "
            f"registered with: its arguments are {', '.join(given) or 'none'} ({reason})"
        ) from error


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
    """The types of the tensors that a node gives; a number that is read from one is of no shape."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return tuple(
        tensor_type(each) if isinstance(each, Tensor) else TensorType((), *_NUMBERS[type(each)])
        for each in values
        if isinstance(each, Tensor) or type(each) in _NUMBERS
    )


def _name(node: Node) -> str:
    target: Any = node.target
    name: str = getattr(target, "_opname", "") or getattr(target, "__name__", str(target))
    bare = name.rstrip("_")
    return bare if bare in FAMILY_OF else name


def _qualified(node: Node) -> str:
    """The name of the operation with its namespace, as `register` takes it; '' for a function."""
    name: str = getattr(getattr(node.target, "_schema", None), "name", "")
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


def _nodes(value: Any) -> bool:
    """Whether an argument holds a tensor of the graph."""
    if isinstance(value, (tuple, list)):
        return any(_nodes(item) for item in value)
    return isinstance(value, Node)
