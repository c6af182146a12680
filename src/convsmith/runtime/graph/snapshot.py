"""A copy of a model with its own tensors: what a frozen network is compiled from."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from convsmith.network.shadow import shadow
from convsmith.runtime.graph.held import is_array, is_open

__all__ = ["snapshot"]


def snapshot(model: Any) -> Any:
    """Copy a module, or an exported program, with all tensors that it holds.

    Tensors that are shared within it are shared in the copy.

    >>> net = nn.Conv2d(3, 8, 3)
    >>> snapshot(net).weight is net.weight
    False
    """
    if isinstance(model, ExportedProgram):
        return copy.deepcopy(model)
    copied = shadow(model)
    _Cloner().clone(copied)
    return copied


class _Cloner:
    """Puts clones in the place of tensors and arrays; the objects that hold them are copies."""

    def __init__(self) -> None:
        self._clones: dict[int, Any] = {}
        self._visited: list[Any] = []  # an identity is free again once its object is gone

    def clone(self, value: Any) -> Any:
        """A clone of a tensor or an array; else the value, which holds clones from now on."""
        if id(value) in self._clones:
            return self._clones[id(value)]
        self._visited.append(value)
        self._clones[id(value)] = value
        if isinstance(value, Tensor):
            self._clones[id(value)] = _clone_of(value)
        elif is_array(value):
            self._clones[id(value)] = copy.copy(value)
        elif type(value) is tuple:
            self._clones[id(value)] = tuple(map(self.clone, value))
        elif isinstance(value, dict):
            value.update({key: self.clone(item) for key, item in value.items()})
        elif isinstance(value, (list, deque)):
            for place, item in enumerate(value):
                value[place] = self.clone(item)
        elif is_open(value):
            self.clone(getattr(value, "__dict__", None))
        return self._clones[id(value)]


def _clone_of(tensor: Tensor) -> Tensor:
    clone: Tensor = tensor.detach().clone()
    return nn.Parameter(clone, requires_grad=False) if isinstance(tensor, nn.Parameter) else clone
