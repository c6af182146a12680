"""Modules found by their path, and copies of whole models."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from convsmith.errors import ArgumentError, nearest

__all__ = ["copied", "submodule"]


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at `path`, or an `ArgumentError` that names the nearest path."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in model.named_modules() if name]
        raise ArgumentError(
            f"no module {path!r} in {type(model).__name__}{nearest(path, known)}"
        ) from None


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a model, also of one whose weights are computed from others.

    What pruning, or the older `weight_norm`, leaves on a module as its weight is a result of
    autograd, which PyTorch refuses to copy; it is computed anew in each call.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return deepcopy(model, memo)
