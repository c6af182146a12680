"""Whether a model does the same for other sizes: it is run on tensors without values.

A graph captured at one size holds for another one if the model's own code calls the same
operations with the same arguments. Two recordings say whether it does, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network.contexts import quiet, untouched
from convsmith.network.families import FAMILIES, FAMILY_OF, Trait
from convsmith.network.families.reshape import TAKES_SIZES
from convsmith.runtime.graph.capture import apart

__all__ = ["names_sizes", "record", "stored"]


def names_sizes(program: ExportedProgram) -> bool:
    """Whether a reshape in the graph has sizes as arguments, which a recording leaves out."""
    return any(getattr(node.target, "_opname", "") in TAKES_SIZES for node in program.graph.nodes)


def record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
    """All operations of a pass: what is called, with which values, and what is broadcast.

    The sizes that reshapes take are left out: those of a flattened map differ with its size.

    Returns:
        None for a model that cannot run without values.
    """
    with apart(model) as copied:
        return _record(copied, args, kwargs)


def stored(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> set[tuple[int, str]]:
    """Which attributes a pass stores: the number of the module among all, and the name."""
    names: set[tuple[int, str]] = set()
    with apart(model) as copied:
        for number, module in enumerate(copied.modules()):
            if not isinstance(module, (torch.jit.ScriptModule, torch.fx.GraphModule)):
                module.__class__ = _storing(type(module), number, names)
        _record(copied, args, kwargs)
    return names


def _storing(kind: Any, number: int, names: set[tuple[int, str]]) -> Any:
    def store(self: Any, name: str, value: Any) -> None:
        names.add((number, name))
        kind.__setattr__(self, name, value)

    return type(kind.__name__, (kind,), {"__setattr__": store, "__module__": kind.__module__})


def _record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    parameters = {name: _without_values(value) for name, value in state.items()}
    inputs = tree_map(_without_values, (tuple(args), dict(kwargs)))
    recorder = _Recorder([*parameters.values(), *tree_leaves(inputs)])
    with untouched(model), quiet(), torch.no_grad():
        try:
            with recorder:
                result = torch.func.functional_call(model, parameters, *inputs)
        except Exception:
            return None
    return [*recorder.calls, tree_map(recorder.describe, result)]


def _relation(one: Sequence[int], other: Sequence[int]) -> Any:
    """Along which axes one of two tensors is repeated."""
    axes = zip(reversed(one), reversed(other), strict=False)
    return (len(one), len(other), [(a == 1, b == 1) if a != b else None for a, b in axes])


def _without_values(value: Any) -> Any:
    return value.detach().to("meta") if isinstance(value, Tensor) else value


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, known: Sequence[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Tensor] = []  # an identity is free again when its tensor is gone
        for value in known:
            self._note(value)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        described = tree_map(self.describe, (args, kwargs or {}))
        name = function._opname
        pure = name.removesuffix("_")
        family = FAMILIES[FAMILY_OF.get(pure, "unknown")].of(pure)
        result: Any
        # By trial, PyTorch takes milliseconds to find what shape the result of these has.
        if family.has(Trait.SAME_SHAPE):
            result = args[0] if name != pure else torch.empty_like(args[0])
        elif name == "native_batch_norm" and not args[5]:
            nothing = args[0].new_empty(0)
            result = torch.empty_like(args[0]), nothing, nothing.clone()
        else:
            result = function(*args, **(kwargs or {}))
        if name in TAKES_SIZES:
            described = described[0][:1]
        for value in tree_leaves(result):
            self._note(value)
        shapes = (
            [v.shape for v in args if isinstance(v, Tensor)] if family.has(Trait.BROADCASTS) else []
        )
        self.calls.append((function, described, [_relation(*two) for two in pairwise(shapes)]))
        return result

    def describe(self, value: Any) -> Any:
        """A tensor's number; anything else is itself."""
        if not isinstance(value, Tensor):
            return (type(value), value)
        if id(value) not in self._numbers:
            raise ValueError("a tensor from elsewhere")
        return ("tensor", self._numbers[id(value)])

    def _note(self, value: Any) -> None:
        if isinstance(value, Tensor) and id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._kept)
            self._kept.append(value)
