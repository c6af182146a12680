"""A model as an exported program whose batch and size are free, where its code allows that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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

__all__ = ["Free", "Inputs", "agrees", "captured", "captures", "leaves", "size_names"]

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
    """Capture a model with as many sizes free as it allows; None where all have to be fixed."""
    return next(captures(model, inputs), None)


def captures(model: nn.Module, inputs: Inputs) -> Iterator[Free]:
    """Capture a model with as many sizes free as it allows, then with fewer.

    The model is left as it is: a second set of its modules, on the same tensors, is captured. What
    `torch.export` calls free is tried: the program has to give what the model gives for the example
    and for twice as much along every free axis.
    """
    # `torch.export` takes a length of 1 for a constant: two images stand for any number. A map of
    # one pixel is one, too, so that twice the size may tell more.
    batches = tree_map(_two_images, inputs)
    for example, axes in ((batches, "all"), (_larger(batches, "all"), "all"), (batches, "batch")):
        program = _captured(model, example, axes)
        if program is None or not any(True for _ in _symbols(program)):
            continue
        if all(_serves(program, model, each) for each in (inputs, _larger(batches, axes))):
            notes = () if axes == "all" else (_BATCH_ALONE,)
            yield Free(program, notes)


_BATCH_ALONE = "its code depends on the size: the batch alone is free"
_ROUNDING = 1e-4
"""Of the largest value; two graphs of float32 of the same operations differ by far less."""


def agrees(one: Callable[..., Any], other: Callable[..., Any], inputs: Inputs) -> bool:
    """Whether two networks give the same for random inputs of these sizes, up to rounding.

    Not where the second one does not take them.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        return torch.rand(leaf.shape, generator=generator).to(leaf)

    args, kwargs = tree_map(drawn, inputs)
    with torch.no_grad():
        expected = tree_leaves(one(*args, **kwargs))
        try:
            found = tree_leaves(other(*args, **kwargs))
        except Exception:
            return False
    return len(expected) == len(found) and all(map(_alike, expected, found))


def _serves(program: ExportedProgram, model: nn.Module, inputs: Inputs) -> bool:
    """Whether a program gives what the model gives; not for sizes that the model refuses."""
    with quiet(), forked(), apart(model) as copied, untouched(copied):
        try:
            return agrees(copied, program.module(check_guards=False), inputs)
        except Exception:
            return False


def _alike(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return bool(one == other)
    if one.shape != other.shape:
        return False
    if not one.is_floating_point() or not one.numel():
        return torch.equal(one, other)
    scale = _ROUNDING * float(one.abs().max())
    return torch.allclose(one, other, rtol=0, atol=scale, equal_nan=True)


def _larger(inputs: Inputs, axes: str) -> Inputs:
    """Twice as much along every axis that may be free: a multiple of what was a multiple."""

    def enlarged(leaf: Any) -> Any:
        free = _free_axes(leaf, axes)
        if free is None:
            return leaf
        for axis in free:
            leaf = torch.cat([leaf, leaf], axis)
        return leaf

    larger: Inputs = tree_map(enlarged, inputs)
    return larger


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
