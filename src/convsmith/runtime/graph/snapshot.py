"""A copy of a model with its own tensors: what a frozen network is compiled from."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram

from convsmith.network.shadow import shadow

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
    clones: dict[int, Tensor] = {}
    for module in copied.modules():
        if not hasattr(type(module), "shared_by_shadows"):
            for name, value in list(vars(module).items()):
                vars(module)[name] = _cloned(value, clones)
    return copied


def _cloned(value: Any, clones: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        if id(value) not in clones:
            clone: Tensor = value.detach().clone()
            if isinstance(value, nn.Parameter):
                clone = nn.Parameter(clone, requires_grad=False)
            clones[id(value)] = clone
        return clones[id(value)]
    # The containers are the copy's own.
    if isinstance(value, dict) and not any(isinstance(v, nn.Module) for v in value.values()):
        for key, item in list(value.items()):
            value[key] = _cloned(item, clones)
    elif isinstance(value, list):
        value[:] = [_cloned(item, clones) for item in value]
    elif type(value) is tuple:
        return tuple(_cloned(item, clones) for item in value)
    return value
