"""Integer tensors that a program is written with: what it picks by them is known beforehand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from convsmith.network.families.index import Pick

__all__ = ["Constants", "is_repeatable"]

_MOST = 1 << 16
"""Values of the largest tensor that is looked at."""


class Constants:
    """Values of a program's constant tensors, computed where they follow from others."""

    def __init__(self, program: ExportedProgram) -> None:
        self._known: dict[str, Tensor] = {}
        for spec in program.graph_signature.input_specs:
            kind = spec.kind.name
            if kind in ("CONSTANT_TENSOR", "BUFFER") and spec.target is not None:
                value = program.constants.get(spec.target, program.state_dict.get(spec.target))
                if _is_known(value):
                    self._known[spec.arg.name] = value
        self._values: dict[Node, Tensor | None] = {}

    def picks(self, node: Node) -> tuple[Pick | None, ...] | None:
        """What `index` or `index_select` picks along each dimension; None where that is computed.

        A dimension that is left whole has None.
        """
        packet = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
        if packet == "index_select":
            dims = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
            pick = self._pick(node.args[2])
            dim: int = node.args[1]  # type: ignore[assignment]
            return None if pick is None else (*(None,) * (dim % dims), pick)
        if packet != "index":
            return None
        found: list[Pick | None] = []
        for index in node.args[1]:  # type: ignore[union-attr]
            pick = self._pick(index)
            if index is not None and pick is None:
                return None
            found.append(pick)
        return tuple(found)

    def _pick(self, index: Any) -> Pick | None:
        value = self._value(index) if isinstance(index, Node) else None
        if value is None or value.is_floating_point() or value.is_complex():
            return None
        if value.dtype == torch.bool:
            if value.dim() != 1:
                return None
            value = value.nonzero()[:, 0]
        return Pick(tuple(value.shape), tuple(int(v) for v in value.flatten()))

    def _value(self, node: Node) -> Tensor | None:
        """The value of a node that depends on constants alone; None where that is not known."""
        if node.name in self._known:
            return self._known[node.name]
        if node not in self._values:
            self._values[node] = None  # also for a node that is written into meanwhile
            self._values[node] = self._computed(node)
        return self._values[node]

    def _computed(self, node: Node) -> Tensor | None:
        target: Any = node.target
        if not is_repeatable(node) or node.meta["val"].numel() > _MOST:
            return None
        if any(self._value(source) is None for source in node.all_input_nodes):
            return None
        args, kwargs = map_arg((node.args, node.kwargs), self._value)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": "cpu"}
        try:
            value = target(*args, **kwargs)
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return None
        return value if _is_known(value) else None


def is_repeatable(node: Node) -> bool:
    """Whether a node is an operation of PyTorch that gives one tensor, the same one each time."""
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    return (
        node.op == "call_function"
        and schema is not None
        and target.namespace == "aten"
        and not schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in target.tags
        and isinstance(node.meta.get("val"), Tensor)
    )


def _is_known(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and not isinstance(value, FakeTensor)
        and not value.is_meta
        and value.numel() <= _MOST
    )
