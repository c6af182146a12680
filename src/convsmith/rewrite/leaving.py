"""Rewritten networks as files for other runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.exporting import Exported

__all__ = ["export_rewritten"]


def export_rewritten(
    model: nn.Module,
    example: Any,
    path: str | Path,
    force: bool,
    options: Mapping[str, Any],
) -> Exported:
    """Write a rewritten model, for an example that its result remembers unless one was given.

    Raises:
        ArgumentError: without either.
    """
    if example is None or example == ():
        raise ArgumentError("which input? pass an example: export(path, (1, 3, 224, 224))")
    from convsmith.exporting import export  # reading a folder does without

    return export(model, example, path, force=force, **options)
