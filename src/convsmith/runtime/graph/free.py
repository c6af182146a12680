"""A model as an exported program whose batch and size are free, where its code allows that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import untouched
from convsmith.network.contexts import forked, quiet, without_collections
from convsmith.network.example import aliased
from convsmith.runtime.graph.capture import apart

__all__ = ["Free", "captured", "size_names"]

Inputs = tuple[tuple[Any, ...], dict[str, Any]]

_AXES = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}


@dataclass(frozen=True)
class Free:
    """A program, and how freely it was captured.

    Attributes:
        program: for evaluation.
        notes: which sizes had to stay fixed.
    """

    program: ExportedProgram
    notes: tuple[str, ...]


def captured(model: nn.Module, inputs: Inputs) -> Free | None:
    """Capture a model with as many sizes free as it allows; None where all have to be fixed.

    The model is left as it is: a second set of its modules, on the same tensors, is captured.
    """
    # `torch.export` takes a length of 1 for a constant: two images stand for any number.
    batches = tree_map(_two_images, inputs)
    for example, axes in ((batches, "all"), (inputs, "all"), (batches, "batch")):
        program = _captured(model, example, axes)
        if program is not None and _is_free(program, example):
            notes = (
                () if axes == "all" else ("its code depends on the size: the batch alone is free",)
            )
            return Free(program, notes)
    return None


def _is_free(program: ExportedProgram, inputs: Inputs) -> bool:
    """Whether any size is free, and twice as much is taken along every axis that is.

    Where a model takes one size alone, the program may call it free, with a guard that says which.
    """
    free = {(name, axis) for name, axis, _, _ in _symbols(program)}
    if not free:
        return False
    guards = getattr(program.module(check_guards=True), "_guards_fn", None)
    names = iter(program.graph_signature.user_inputs)

    def doubled(leaf: Any) -> Any:
        name = next(names)
        if not isinstance(leaf, Tensor):
            return leaf
        lengths = [n * (1 + ((name, axis) in free)) for axis, n in enumerate(leaf.shape)]
        return torch.empty(lengths, dtype=leaf.dtype, device="meta")

    larger = [doubled(leaf) for leaf in tree_leaves(inputs)]
    try:
        if guards is not None:
            guards(*larger)
    except AssertionError:
        return False
    return True


def _two_images(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or leaf.dim() < 2 or leaf.shape[0] != 1:
        return leaf
    return torch.cat([leaf, leaf])


def _captured(model: nn.Module, inputs: Inputs, axes: str) -> ExportedProgram | None:
    args, kwargs = aliased(inputs)
    free = tree_map(lambda leaf: _free_axes(leaf, axes), (args, kwargs))
    # Named inputs are told apart by name, others by place; `torch.export` takes no mixture.
    shapes = free[1] if kwargs else free[0]
    with quiet(), forked(), without_collections(), apart(model) as copied, untouched(copied):
        try:
            with torch.no_grad():
                return torch.export.export(
                    copied, args, kwargs, dynamic_shapes=shapes, strict=False
                )
        except Exception:
            return None  # whatever the reason: the size is then fixed


def _free_axes(leaf: Any, axes: str) -> Any:
    if not isinstance(leaf, Tensor):
        return None
    return {
        axis: Dim.AUTO
        for axis in range(leaf.dim())
        if axis == 0 or (axis > 1 and axes == "all")
    }  # fmt: skip


def size_names(program: ExportedProgram) -> dict[str, str]:
    """For each free size, by its symbol in the program, the name that people read."""
    names: dict[str, str] = {}
    for tensor, axis, rank, symbol in _symbols(program):
        if symbol in names:
            continue
        space = _AXES.get(rank, ())
        own = "batch" if axis == 0 else space[axis - 2] if 2 <= axis < 2 + len(space) else ""
        if not own or own in names.values():
            own = re.sub(r"\W", "_", f"{tensor}_{own or axis}")
        names[symbol] = own
    return names


def _symbols(program: ExportedProgram) -> Iterator[tuple[str, int, int, str]]:
    """Of each input: its name, an axis, how many it has, and a symbol in the axis's length."""
    given = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "placeholder" or node.name not in given or not isinstance(value, Tensor):
            continue
        for axis, length in enumerate(value.shape):
            if isinstance(length, torch.SymInt):
                for symbol in re.findall(r"[A-Za-z_]\w*", str(length)):
                    yield node.name, axis, value.dim(), symbol


def leaves(inputs: Inputs) -> list[Tensor]:
    """The tensors among inputs, in the order of the program's."""
    return [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
