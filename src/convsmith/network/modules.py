"""Modules found by their path."""

from __future__ import annotations

from torch import nn

from convsmith.errors import ArgumentError, nearest

__all__ = ["submodule"]


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at `path`, or an `ArgumentError` that names the nearest path."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in model.named_modules() if name]
        raise ArgumentError(
            f"no module {path!r} in {type(model).__name__}{nearest(path, known)}"
        ) from None
