"""Types of what operations create: those of the capture, not torch's defaults at a call."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

__all__ = ["name_types"]


def name_types(program: ExportedProgram) -> bool:
    """Let every operation say its type that would else ask torch for the default one.

    Those are operations that create tensors, and those that make fractions of integers.

    Returns:
        Whether there are further operations now.
    """
    changed, more = False, False
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor):
            continue
        schema = getattr(node.target, "_schema", None)
        if schema is None or not value.is_floating_point():
            continue
        sources = [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
        names = {argument.name for argument in schema.arguments if argument.kwarg_only}
        if not sources and {"dtype", "device"} <= names and not node.kwargs.get("dtype"):
            node.kwargs = {**node.kwargs, "dtype": value.dtype, "device": value.device}
            changed = True
        elif sources and node.target in _FRACTIONS and not any(map(_is_float, sources)):
            _convert(program, node, value.dtype)
            more = True
    if changed or more:
        program.graph_module.recompile()
    return more


_FRACTIONS = {
    torch.ops.aten.div.Tensor, torch.ops.aten.true_divide.Tensor, torch.ops.aten.exp.default,
    torch.ops.aten.sqrt.default, torch.ops.aten.rsqrt.default, torch.ops.aten.sin.default,
    torch.ops.aten.cos.default, torch.ops.aten.log.default, torch.ops.aten.sigmoid.default,
    torch.ops.aten.tanh.default, torch.ops.aten.reciprocal.default, torch.ops.aten.log2.default,
    torch.ops.aten.mul.Tensor, torch.ops.aten.add.Tensor, torch.ops.aten.sub.Tensor,
    torch.ops.aten.pow.Scalar, torch.ops.aten.pow.Tensor_Scalar,
}  # fmt: skip
"""Operations that give the default type for integers, or for integers and a fraction."""


def _is_float(node: Node) -> bool:
    return bool(node.meta["val"].is_floating_point())


def _convert(program: ExportedProgram, node: Node, dtype: torch.dtype) -> None:
    for source in dict.fromkeys(node.all_input_nodes):
        value = source.meta.get("val")
        if isinstance(value, Tensor):
            with program.graph.inserting_before(node):
                converted = program.graph.call_function(torch.ops.aten.to.dtype, (source, dtype))
            converted.meta = {**node.meta, "val": value.to(dtype)}
            node.replace_input_with(source, converted)
