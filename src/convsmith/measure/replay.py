"""A traced program run again on tensors without values, to see what is alive at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter, getitem
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_map

from convsmith.measure.rehearsal import Allocation, Watch, address, nbytes, tensors
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
        self._allocated: list[tuple[int, Allocation, Storage | None]] = []
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            for node in program.graph.nodes:
                if node.op == "placeholder":
                    self._values[node.name] = value = self._like(node, node.meta.get("val"))
                    for tensor in tensors(value):
                        self.inputs += nbytes(tensor) if node.name in given else 0
                        self._known[address(tensor)] = None
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

    def lives_seen(self, seen: Sequence[Allocation]) -> dict[Storage, int] | None:
        """The last step of each storage in a rehearsal, None if that took another way."""
        if [one.bytes for _, one, _ in self._allocated] != [one.bytes for one in seen]:
            return None
        steps = [i for i, *_ in self._allocated]
        last = self.lives(locals_kept=False)
        for (_, _, storage), one in zip(self._allocated, seen, strict=True):
            if storage is not None:
                # It went between two allocations; what they leave open, the graph says.
                until = len(steps) if one.until is None else one.until
                first = steps[until - 1]
                end = steps[until] - 1 if until < len(steps) else len(self.steps) - 1
                last[storage] = max(first, min(last[storage], end))
        return last

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
        for j, tensor in enumerate(tensors(result)):
            if address(tensor) not in self._known:
                each = f"{name}[{j}]" if isinstance(result, (tuple, list)) else name
                storage = Storage(each, i, tuple(tensor.shape), nbytes(tensor), tensor)
                self._known[address(tensor)] = storage
                made.append(storage)
        # The storage of a temporary that is gone may have its address taken by a result.
        kept = {id(one): self._known.get(place) for place, one in watch.held.items()}
        taken = [
            kept.get(id(one)) or Storage(f"{name} (temporary)", i, one.shape, one.bytes)
            for one in watch.at_peak.values()
        ]
        self._allocated += [(i, one, kept.get(id(one))) for one in watch.made]
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
        found = (self._known.get(address(tensor)) for tensor in tensors(values))
        return list(dict.fromkeys(storage for storage in found if storage is not None))

    def _like(self, node: Node, value: Any) -> Any:
        """A tensor with the sizes and strides of an exported one; a view where that is a view."""
        if not isinstance(value, Tensor):
            return value
        sizes, strides = tuple(map(int, value.shape)), tuple(map(int, value.stride()))
        for source in node.all_input_nodes:
            theirs, ours = tensors(source.meta.get("val")), tensors(self._values[source.name])
            for their, our in zip(theirs, ours, strict=False):
                if address(their) == address(value) and our.dtype == value.dtype:
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
