"""Random values: they differ from call to call, and so from tile to tile."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

__all__ = ["is_random"]

_RATES = ("p", "dropout", "dropout_p")


def is_random(node: Node) -> bool:
    """Whether an operation draws random numbers: a dropout that is off draws none."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    settings = _settings(node)
    if not settings.get("train", settings.get("training", True)):
        return False
    rates = [settings[name] for name in _RATES if isinstance(settings.get(name), (int, float))]
    return not rates or any(rate > 0 for rate in rates)


def _settings(node: Node) -> dict[str, Any]:
    """The arguments by their names, those that are left out with their defaults."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    settings = {each.name: each.default_value for each in schema if each.has_default_value()}
    settings.update(zip((each.name for each in schema), node.args, strict=False))
    return {**settings, **node.kwargs}
