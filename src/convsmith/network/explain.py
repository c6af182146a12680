"""What to say when a model cannot be traced: the reason, the layer and the user's own line."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch
from torch import nn
from torch.fx import Node

from convsmith.errors import first_line
from convsmith.network.naming import Namer

__all__ = ["explain", "source_of", "where"]

_LIBRARIES = (f"{Path(torch.__file__).parent}/", f"{Path(__file__).parents[1]}/")


def source_of(node: Node) -> str:
    """The innermost line of the user's own code, as `file.py:12`."""
    lines = (node.meta.get("stack_trace") or "").splitlines()
    for line in reversed(lines):
        parts = line.strip().split(", ")
        if line.strip().startswith('File "') and not _is_library(path := parts[0][6:-1]):
            return f"{Path(path).name}:{parts[1].removeprefix('line ')}"
    return ""


def explain(model: nn.Module, error: Exception, verb: str = "traced") -> str:
    """One line: the reason, the layer's path, and where in the user's code it happened."""
    reason = first_line(error)
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        reason = "its control flow depends on the values of a tensor"
    if isinstance(model, torch.jit.ScriptModule) and verb == "traced":
        reason = "torch.export takes no TorchScript"
    paths = {id(module): path for path, module in model.named_modules()}
    path, place = "", ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = paths.get(id(frame.f_locals.get("self")), path)
    for summary in traceback.extract_tb(error.__traceback__):
        if not _is_library(summary.filename):
            place = f"{Path(summary.filename).name}:{summary.lineno}: {summary.line}"
    where = f" in layer {path!r}" if path else ""
    return f"{type(model).__name__} cannot be {verb}: {reason}{where}" + (
        f" ({place})" if place else ""
    )


def where(node: Node) -> str:
    """The layer's path and the line of the user's code that a node comes from."""
    path, source = Namer(()).path(node, ()), source_of(node)
    return (f" in layer {path!r}" if path else "") + (f" ({source})" if source else "")


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", *_LIBRARIES))
