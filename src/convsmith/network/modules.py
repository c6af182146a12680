"""Modules found by their path, and copies of whole models."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, nearest

__all__ = ["copied", "plain", "submodule"]


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at `path`, or an `ArgumentError` that names the nearest path."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in model.named_modules() if name]
        raise ArgumentError(
            f"no module {path!r} in {type(model).__name__}{nearest(path, known)}"
        ) from None


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy of a model, also of one whose weights are computed from others.

    What pruning, or the older `weight_norm`, leaves on a module as its weight is a result of
    autograd, which PyTorch refuses to copy; it is computed anew in each call.

    Args:
        model: the model.
        memo: what is put in the place of objects, by identity, as `deepcopy` takes it.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo.setdefault(id(value), value.detach().clone())
    return deepcopy(model, memo)


def plain(model: Any) -> nn.Module:
    """The module that a user passed, out of what `torch.compile` wraps it in.

    Raises:
        ArgumentError: for anything but a module, and for TorchScript, whose parts cannot be
            replaced.
    """
    while isinstance(model, nn.Module) and type(model).__name__ == "OptimizedModule":
        model = model._orig_mod
    if isinstance(model, torch.jit.ScriptModule):
        name = getattr(model, "original_name", "model")
        raise ArgumentError(
            f"{name} is TorchScript, whose layers cannot be replaced: pass the module that it was "
            "scripted or traced from"
        )
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"expected a torch.nn.Module, not {type(model).__name__}")
    return model
