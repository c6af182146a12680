"""Writes into tensors: what a tensor holds when it is read, after views of it were written into.

The graph of a program names a tensor by the operation that made it. Where a later operation writes
into the tensor, or into another view of the same memory, what is read afterwards is something
else: this finds out what.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from convsmith.network.overlap import Overlap, Strided, overlap

__all__ = ["Memory", "Merge", "writes"]

Merge = Callable[[str, Node, str, Node, "Overlap | None"], str]
"""Makes the layer of a tensor that was written into: from the key of its layer so far, its node,
the key and the node of what was written, and how they lie upon each other. Returns the new key."""


def writes(node: Node) -> list[Node]:
    """The nodes whose values a node changes."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return []
    written: list[Node] = []
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
            written += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Node)]
    return written


@dataclass
class _Storage:
    """One piece of memory: the largest tensor in it, and every write so far, in order."""

    owner: Node
    written: list[tuple[Node, Node]] = field(default_factory=list)


class Memory:
    """Which tensors share memory, and what has been written into it, as a program is read."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # by the identity of a storage
        self._of: dict[Node, int] = {}
        self._storages: dict[int, _Storage] = {}
        self._current: dict[Node, str] = {}
        self._seen: dict[Node, int] = {}  # how many writes a tensor's layer has in it

    def add(self, node: Node) -> None:
        """Note where the result of a node lies, and what the node wrote."""
        values = [v for v in tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        number = next(
            (self._numbers[i] for v in values if (i := _identity(v)) in self._numbers), None
        )
        source = _shared(node)
        if number is None and source in self._of:
            number = self._of[source]
        if number is None:
            number = len(self._storages)
            self._storages[number] = _Storage(node)
        for value in values:
            self._numbers.setdefault(_identity(value), number)
        self._of[node] = number
        storage = self._storages[number]
        if _values(node) > _values(storage.owner):
            storage.owner = node
        for target in writes(node):
            if target in self._of:
                self._storages[self._of[target]].written.append((node, target))
        self._seen[node] = len(storage.written)
        for target in writes(node):
            # The tensor that was written is what the operation gives, if it is the only one.
            if isinstance(node.meta.get("val"), Tensor) and target in self._of:
                self._seen[target] = len(self._storages[self._of[target]].written)
                self._current[target] = node.name

    def key(self, node: Node, merge: Merge) -> str:
        """The key of the layer that a node's tensor holds now; makes it where it must."""
        if node not in self._of:
            return node.name
        storage = self._storages[self._of[node]]
        key = self._current.get(node, node.name)
        for writer, target in storage.written[self._seen[node] :]:
            mine, theirs = _strided(node), _strided(target)
            if mine is None or theirs is None:
                key = merge(key, node, writer.name, writer, None)
                continue
            if mine == theirs:
                key = writer.name
                continue
            memory = _strided(storage.owner)
            found = overlap(memory, mine, theirs) if memory else None
            if found is None or not found.none:
                key = merge(key, node, writer.name, writer, found)
        self._current[node], self._seen[node] = key, len(storage.written)
        return key


def _identity(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def _values(node: Node) -> int:
    value = node.meta.get("val")
    return prod(value.shape) if isinstance(value, Tensor) else -1


def _strided(node: Node) -> Strided | None:
    value: Any = node.meta.get("val")
    if not isinstance(value, Tensor) or value.is_sparse:
        return None
    return Strided(tuple(value.shape), tuple(value.stride()), int(value.storage_offset()))


def _shared(node: Node) -> Node | None:
    """The argument that a node's result may be another view of; None if it has its own memory."""
    schema = getattr(node.target, "_schema", None)
    source = node.args[0] if node.args else None
    if schema is None:
        return source if isinstance(source, Node) and node.target is operator.getitem else None
    if any(result.alias_info is not None for result in schema.returns):
        return source if isinstance(source, Node) else None
    return _passed_on(node) if _is_composite(node.target) else None


@cache
def _is_composite(target: Any) -> bool:
    """Whether PyTorch takes an operation apart: its schema then does not tell of views."""
    key = "CompositeImplicitAutograd"
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(target.name(), key))


def _passed_on(node: Node) -> Node | None:
    """The argument whose memory a node's result lies in, such as that of dropout in evaluation.

    Found by trial, on tensors without values.
    """
    values = {n: n.meta.get("val") for n in node.all_input_nodes}
    result = next(iter(tree_leaves(node.meta.get("val"))), None)
    if not isinstance(result, Tensor) or not any(_may_hold(v, result) for v in values.values()):
        return None
    empty = {
        n: torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device="meta")
        for n, v in values.items()
        if isinstance(v, Tensor)
    }
    target: Any = node.target
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: empty.get(n, values[n]))
    try:
        with torch.no_grad():
            made = tree_leaves(target(*args, **kwargs))
    except Exception:  # whatever an operation raises that wants values
        return None
    places = {_identity(value) for value in made if isinstance(value, Tensor)}
    return next((n for n, value in empty.items() if _identity(value) in places), None)


def _may_hold(value: Any, result: Tensor) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype == result.dtype
        and result.layout == value.layout == torch.strided
        and prod(result.shape) <= prod(value.shape)
    )
