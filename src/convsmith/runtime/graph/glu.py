"""Gated linear units as the products that they are, for kernels alone.

Under autocast torch rounds a product of its own twice where it rounds `glu` once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

__all__ = ["glu_as_products", "has_glu"]

_ATEN = torch.ops.aten


def has_glu(program: ExportedProgram) -> bool:
    """Whether there may be something to rewrite."""
    return any(node.target is _ATEN.glu.default for node in program.graph.nodes)


def glu_as_products(program: ExportedProgram) -> bool:
    """Rewrite `glu` over channels as the first half of them times the sigmoid of the second.

    Every node keeps its name.

    Returns:
        Whether anything was changed.
    """
    changed = [_rewrite(program.graph, node) for node in list(program.graph.nodes)]
    if any(changed):
        program.graph_module.recompile()
    return any(changed)


def _rewrite(graph: Graph, node: Node) -> bool:
    value = node.meta.get("val")
    dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", -1)
    if node.target is not _ATEN.glu.default or not isinstance(value, Tensor) or value.dim() != 4:
        return False
    half = value.shape[1]
    if dim not in (1, -3) or not isinstance(half, int):
        return False

    def before(operation: Any, *args: Any) -> Node:
        made = graph.call_function(operation, args)
        made.meta = dict(node.meta)  # of the same shape and type
        return made

    with graph.inserting_before(node):
        halves = [
            before(_ATEN.slice.Tensor, node.args[0], 1, start, start + half) for start in (0, half)
        ]
        gate = before(_ATEN.sigmoid.default, halves[1])
    node.target, node.args, node.kwargs = _ATEN.mul.Tensor, (halves[0], gate), {}
    return True
