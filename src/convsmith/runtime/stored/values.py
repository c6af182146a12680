"""Arguments, inputs and outputs of stored graphs as plain data, and back; no code among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from convsmith.errors import ModelError

__all__ = ["nested", "read", "write"]

_WORDS = {torch.dtype: "dtype", torch.layout: "layout", torch.memory_format: "memory_format"}


def write(value: Any, node: Callable[[Node], int] | None = None) -> Any:
    """A value as JSON knows it: numbers, text, lists, tuples, dicts, types.

    A node of a graph is written as its number, by `node`; a tensor as its shape and its type.

    Raises:
        ModelError: for anything else, by its type.
    """
    if value is None or (isinstance(value, (bool, int, str)) and type(value) in (bool, int, str)):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Node) and node is not None:
        return {"node": node(value)}
    if isinstance(value, Tensor) and node is None:
        return {"shape": list(value.shape), "dtype": _word(value.dtype)}
    if type(value) is tuple:
        return {"tuple": [write(item, node) for item in value]}
    if isinstance(value, (list, torch.Size)):
        return {"list": [write(item, node) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": [[key, write(item, node)] for key, item in value.items()]}
    if isinstance(value, slice):
        return {"slice": [write(item, node) for item in (value.start, value.stop, value.step)]}
    if isinstance(value, torch.device) and value.type == "cpu":
        return {"device": "cpu"}
    for kind, word in _WORDS.items():
        if isinstance(value, kind):
            return {word: _word(value)}
    raise ModelError(f"a value of type {type(value).__name__} has no place in a stored network")


def read(value: Any, node: Callable[[Any], Any]) -> Any:
    """What `write` wrote.

    Args:
        value: plain data.
        node: gives what stands for a tensor, from `{"node": …}` or `{"shape": …, "dtype": …}`.

    Raises:
        ModelError: for what it never writes.
    """
    if not isinstance(value, dict):
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ModelError("a stored value is not of a known kind")
    if "node" in value or "shape" in value:
        return node(value)
    if len(value) != 1:
        raise ModelError("a stored value is not of a known kind")
    ((kind, held),) = value.items()
    if kind == "float" and held in ("inf", "-inf", "nan"):
        return float(held)
    if kind in ("tuple", "list", "slice") and isinstance(held, list):
        items = [read(item, node) for item in held]
        return tuple(items) if kind == "tuple" else items if kind == "list" else slice(*items)
    if kind == "dict" and isinstance(held, list):
        return {str(key): read(item, node) for key, item in held}
    if kind == "device" and held == "cpu":
        return torch.device("cpu")
    for type_, word in _WORDS.items():
        if kind == word and isinstance(held, str) and held.isidentifier():
            found = getattr(torch, held, None)
            if isinstance(found, type_):
                return found
    raise ModelError(f"a stored value of the kind {kind[:40]!r} is not known")


def nested(structure: Any, leaves: Sequence[Any]) -> Any:
    """Leaves in the place of their numbers."""
    if type(structure) is int:
        return leaves[structure]
    if type(structure) is dict:
        return {key: nested(item, leaves) for key, item in structure.items()}
    if type(structure) in (tuple, list):
        return type(structure)(nested(item, leaves) for item in structure)
    return structure


def _word(value: Any) -> str:
    return str(value).removeprefix("torch.")
