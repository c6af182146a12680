"""Means that give vectors, as means over maps: those have kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from convsmith.network.trace import read_program
from convsmith.runtime.graph.capture import Capture

__all__ = ["means_as_maps"]

_ATEN = torch.ops.aten


def means_as_maps(captured: Capture, model: nn.Module | ExportedProgram) -> Capture:
    """The same network, where `x.mean((2, 3))` keeps its axes and is flattened then.

    Every node keeps its name and its value.

    Args:
        captured: a network; its program is of its own and is changed.
        model: what was captured.
    """
    program = captured.program
    nodes = [node for node in program.graph.nodes if _gives_vectors(node)]
    if not nodes:
        return captured
    for node in nodes:
        source, dims = node.args[:2]
        with program.graph.inserting_before(node):
            kept = program.graph.call_function(_ATEN.mean.dim, (source, dims, True))
        kept.meta = {**node.meta, "val": node.meta["val"][:, :, None, None]}
        node.target, node.args, node.kwargs = _ATEN.flatten.using_ints, (kept, 1), {}
    program.graph_module.recompile()
    old = captured.network
    module = model.module(check_guards=False) if isinstance(model, ExportedProgram) else model
    network = read_program(program, module, old.name, old.free)
    return replace(captured, network=replace(network, model=old.model), program=program)


def _gives_vectors(node: Node) -> bool:
    if node.target is not _ATEN.mean.dim or node.kwargs or len(node.args) > 3:
        return False
    source, dims, *keepdim = node.args
    value: Any = source.meta.get("val") if isinstance(source, Node) else None
    if value is None or value.dim() != 4 or not isinstance(dims, (list, tuple)) or any(keepdim):
        return False
    axes: Any = dims
    return sorted(dim % 4 for dim in axes) == [2, 3]
