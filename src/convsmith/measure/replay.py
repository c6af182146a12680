"""A traced program run again on tensors without values, to see what is alive at each step."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter, getitem
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import Network

__all__ = ["Alive", "Replay"]

# Their forward passes keep one tensor at a time: `input = module(input)`.
_REBINDS = "torch.nn.modules.container.Sequential"
# Replayed as on the CPU, wherever the model lives: a composite operation chooses its way by device.
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Alive:
    """A tensor in memory at the peak.

    Attributes:
        name: the layer that made it; `(temporary)` is added where the layer drops it again.
        shape: its shape.
        bytes: of its storage, which views of it share.
    """

    name: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(eq=False, slots=True)
class Storage:
    """One block of memory, and the tensor that holds on to it so that its address stays its own."""

    name: str
    born: int
    shape: tuple[int, ...]
    bytes: int
    keeper: Any = None


@dataclass(eq=False, slots=True)
class Call:
    """One call of a module: its first and last step, and whether it keeps but one local."""

    first: int
    last: int
    rebinds: bool


@dataclass(eq=False, slots=True)
class Step:
    """One operation: its module calls, outermost first; what it reads or gives; what it takes."""

    name: str
    calls: list[Call]
    touched: list[Storage]
    made: list[Storage]
    taken: list[Storage]  # at the peak within the operation, temporaries included


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within one operation: every storage as it is made, as it goes, and the most at a time."""

    def __init__(self, known: Container[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.held: dict[int, tuple[tuple[int, ...], int]] = {}
        self.at_peak: dict[int, Any] = {}
        self.size = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            address = _address(tensor)
            if address not in self.known and address not in self.held:
                self.held[address] = (tuple(map(int, tensor.shape)), _nbytes(tensor))
                self.size += _nbytes(tensor)
                finalize(tensor.untyped_storage(), self._release, address).atexit = False
        if self.size > self.peak:
            self.peak, self.at_peak = self.size, dict(self.held)
        return result

    def _release(self, address: int) -> None:
        self.size -= self.held.pop(address)[1]


class Replay:
    """The program run step by step on tensors without values, all results kept to the end."""

    def __init__(self, network: Network) -> None:
        program = network.program
        specs = program.graph_signature.input_specs
        given = {spec.arg.name for spec in specs if spec.kind.name == "USER_INPUT"}
        self.inputs = 0
        self.steps: list[Step] = []
        self.failures: list[str] = []
        self._layers = {layer.node: layer.name for layer in network}
        self._values: dict[str, Any] = {}
        self._known: dict[int, Storage | None] = {}  # by address; None for inputs and weights
        self._calls: dict[tuple[str, ...], Call] = {}
        self._results: list[Storage] = []
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            for node in program.graph.nodes:
                if node.op == "placeholder":
                    self._values[node.name] = value = self._like(node, node.meta.get("val"))
                    for tensor in _tensors(value):
                        self.inputs += _nbytes(tensor) if node.name in given else 0
                        self._known[_address(tensor)] = None
                elif node.op == "get_attr":
                    self._values[node.name] = attrgetter(node.target)(program.graph_module)
                elif node.op == "output":
                    self._results = self._storages(self._arguments(node))
                else:
                    self._run(node)

    def lives(self, *, locals_kept: bool) -> dict[Storage, int]:
        """The last step of each storage, in the order they were made."""
        last = {storage: i for i, step in enumerate(self.steps) for storage in step.made}
        before: dict[Storage, Step] = {}
        for i, step in enumerate(self.steps):
            for storage in step.touched:
                passed = (call.last for call in step.calls if call.first > storage.born)
                last[storage] = max(last[storage], i, next(passed, i))
                if locals_kept:
                    # Calls nest, so the innermost one around both is where a local may be.
                    first = before.get(storage, step)
                    both = [a for a, b in zip(first.calls, step.calls, strict=False) if a is b]
                    if not both or not both[-1].rebinds:
                        end = both[-1].last if both else len(self.steps) - 1
                        last[storage] = max(last[storage], end)
                    before[storage] = step
        return last | dict.fromkeys(self._results, len(self.steps) - 1)

    def during(self, last: Mapping[Storage, int]) -> list[int]:
        """The bytes alive while each step runs."""
        change = [0] * (len(self.steps) + 2)
        for storage, end in last.items():
            change[storage.born + 1] += storage.bytes
            change[end + 1] -= storage.bytes
        held = accumulate(change)
        return [
            total + sum(storage.bytes for storage in step.taken)
            for step, total in zip(self.steps, held, strict=False)
        ]

    def alive(self, at: int, last: Mapping[Storage, int]) -> tuple[Alive, ...]:
        """The tensors alive while one step runs."""
        held = [storage for storage, end in last.items() if storage.born < at <= end]
        return tuple(
            Alive(storage.name, storage.shape, storage.bytes)
            for storage in [*held, *self.steps[at].taken]
            if storage.bytes
        )

    def _run(self, node: Node) -> None:
        i, name = len(self.steps), self._layers.get(node.name, node.name)
        args, kwargs = self._arguments(node)
        target: Any = node.target
        watch = Watch(self._known)
        try:
            with watch:
                result = target(*args, **kwargs)
        except Exception as error:  # somebody's own operation may raise anything
            reason = f"{name!r} cannot be replayed ({type(error).__name__})"
            self.failures.append(f"{reason}: its temporaries are not counted")
            watch = Watch(self._known)
            result = self._stand_in(node)
        self._values[node.name] = result
        made = []
        for j, tensor in enumerate(_tensors(result)):
            if _address(tensor) not in self._known:
                each = f"{name}[{j}]" if isinstance(result, (tuple, list)) else name
                storage = Storage(each, i, tuple(tensor.shape), _nbytes(tensor), tensor)
                self._known[_address(tensor)] = storage
                made.append(storage)
        taken = [
            self._known.get(address) or Storage(f"{name} (temporary)", i, shape, size)
            for address, (shape, size) in watch.at_peak.items()
        ]
        # One of several results is picked: the others are not needed for that.
        needed = result if target is getitem else [args, kwargs, result]
        calls = self._enter(node, i)
        self.steps.append(Step(name, calls, self._storages(needed), made, taken or made))

    def _enter(self, node: Node, i: int) -> list[Call]:
        """The module calls around a node; a module called again has another key."""
        stack = node.meta.get("nn_module_stack") or {}
        calls: list[Call] = []
        path: tuple[str, ...] = ()
        for key, (_, kind) in stack.items():
            path = (*path, key)
            kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
            call = self._calls.setdefault(path, Call(i, i, kind == _REBINDS))
            call.last = i
            calls.append(call)
        return calls

    def _arguments(self, node: Node) -> Any:
        given = map_arg((node.args, node.kwargs), lambda source: self._values[source.name])
        return tree_map(lambda v: _CPU if isinstance(v, torch.device) else v, given)

    def _storages(self, values: Any) -> list[Storage]:
        found = (self._known.get(_address(tensor)) for tensor in _tensors(values))
        return list(dict.fromkeys(storage for storage in found if storage is not None))

    def _like(self, node: Node, value: Any) -> Any:
        """A tensor with the sizes and strides of an exported one; a view where that is a view."""
        if not isinstance(value, Tensor):
            return value
        sizes, strides = tuple(map(int, value.shape)), tuple(map(int, value.stride()))
        for source in node.all_input_nodes:
            theirs, ours = _tensors(source.meta.get("val")), _tensors(self._values[source.name])
            for their, our in zip(theirs, ours, strict=False):
                if _address(their) == _address(value) and our.dtype == value.dtype:
                    return our.as_strided(sizes, strides, int(value.storage_offset()))
        # Some operations choose their way by requires_grad even where gradients are off.
        return torch.empty_strided(
            sizes, strides, dtype=value.dtype, requires_grad=value.requires_grad
        )

    def _stand_in(self, node: Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, (tuple, list)):
            return [self._like(node, item) for item in value]
        return self._like(node, value)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _nbytes(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().nbytes())
