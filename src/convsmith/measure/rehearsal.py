"""A model's forward pass run on tensors without values, to see what it allocates and drops when.

A traced graph says which results an operation needs, not how long the Python code around it holds
on to a tensor: a local variable, a list of features, an argument of a method. Running that code
says so, and takes no memory for values.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import Network, quiet
from convsmith.network.contexts import forked
from convsmith.network.leftovers import without_leftovers
from convsmith.network.shadow import shadow

__all__ = ["Allocation", "Watch", "address", "nbytes", "rehearse", "tensors"]

_BATCH_NORM = torch.ops.aten.native_batch_norm.default


@dataclass(eq=False, slots=True)
class Allocation:
    """One block of memory: what for, how much, and when it went.

    Attributes:
        shape: of the tensor it was made for.
        bytes: its size.
        until: how many allocations had been made when it went; None while it is there.
    """

    shape: tuple[int, ...]
    bytes: int
    until: int | None = None


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every storage as it is made and as it goes, and the most at a time."""

    def __init__(self, known: Container[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.made: list[Allocation] = []
        self.held: dict[int, Allocation] = {}  # by address
        self.at_peak: dict[int, Allocation] = {}
        self.size = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Without values, PyTorch finds the sizes of a batch norm in twenty operations of Python,
        # and half of a pass would be spent there.
        if func is _BATCH_NORM and not args[5] and args[0].is_contiguous():
            none = args[0].new_empty(0)
            result: Any = torch.empty_like(args[0]), none, none.clone()
        else:
            result = func(*args, **(kwargs or {}))
        for tensor in tensors(result):
            place = address(tensor)
            if place not in self.known and place not in self.held:
                made = Allocation(tuple(map(int, tensor.shape)), nbytes(tensor))
                self.made.append(made)
                self.held[place] = made
                self.size += made.bytes
                finalize(tensor.untyped_storage(), self._release, place).atexit = False
        if self.size > self.peak:
            self.peak, self.at_peak = self.size, dict(self.held)
        return result

    def _release(self, place: int) -> None:
        gone = self.held.pop(place)
        gone.until = len(self.made)
        self.size -= gone.bytes


def rehearse(network: Network) -> Watch | None:
    """Run the model that a network was traced from, on the inputs of the trace without values.

    It runs as on the CPU, wherever the model lives. None if there is no model, or if its code asks
    for values.
    """
    model, program = network.model, network.program
    if model is None or program is None or program.example_inputs is None:
        return None
    fake: dict[int, Any] = {}  # a tensor under two names stays one tensor

    def like(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return torch.device("cpu") if isinstance(value, torch.device) else value
        if id(value) not in fake:
            fake[id(value)] = torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, requires_grad=value.requires_grad
            )
        return fake[id(value)]

    model = shadow(model)
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    fused = torch.backends.mha.get_fastpath_enabled()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with quiet(), forked(), without_leftovers(model), torch.no_grad(), mode:
        state = {name: like(tensor) for name, tensor in named}
        args, kwargs = tree_map(like, program.example_inputs)
        watch = Watch({address(tensor) for tensor in fake.values()})
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # a trace does not take it either
            with watch:
                torch.func.functional_call(model, state, args, kwargs)
        except Exception:  # the user's own code may raise anything where a trace did not
            return None
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
    return watch


def tensors(values: Any) -> list[Tensor]:
    """The tensors among values that may be nested."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def address(tensor: Tensor) -> int:
    """What tells its storage from any other that is alive."""
    return int(tensor.untyped_storage()._cdata)


def nbytes(tensor: Tensor) -> int:
    """The bytes of its storage."""
    return int(tensor.untyped_storage().nbytes())
