"""Where graphs for further inputs come from: one that is there already, or a new capture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from convsmith.kernels.watching import InPython
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.rehearse import names_sizes, record, stored
from convsmith.runtime.graph.signature import pattern, without_sizes, worth_freeing
from convsmith.runtime.graph.structure import Structure
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.graph.watch import Watch

__all__ = ["Example", "Partitioner", "Source"]

Example = tuple[tuple[Any, ...], dict[str, Any]]
"""Inputs by place and by name."""

Partitioner = Callable[[Capture], Variant]
"""Puts regions into a captured graph."""


@dataclass(eq=False)
class Source:
    """The variants of one model, by what their inputs have in common.

    Attributes:
        model: a module, or an exported program.
        partition: what puts regions into a captured graph.
        structure: the parts of the model when it was captured first.
        first: the variant for the example.
        example: the inputs that it was captured with.
        numbers: watches tensors that the model may have read as numbers, if it has any.
    """

    model: nn.Module | ExportedProgram
    partition: Partitioner
    structure: Structure
    first: Variant
    example: Example
    numbers: Watch | None = None
    _free: list[tuple[Any, Variant]] = field(default_factory=list)
    _tried: set[Any] = field(default_factory=set)
    _recording: list[list[Any] | None] = field(default_factory=list)
    _rehearsed: bool = False

    @property
    def changed(self) -> bool:
        """Whether the model has other parts than when it was captured.

        Attributes that its own passes store do not count.
        """
        if self.numbers is not None and self.numbers.changed:
            return True
        if not self.structure.changed:
            return False
        if not self._rehearsed and isinstance(self.model, nn.Module):
            self._rehearsed = True
            self.structure.ignore(stored(self.model, *self.example))
        return self.structure.changed

    @property
    def in_dictionaries(self) -> bool:
        """Whether the entries of dictionaries say whether it has changed."""
        return self.numbers is None and self.structure.in_dictionaries

    @classmethod
    def of(
        cls,
        model: nn.Module | ExportedProgram,
        partition: Partitioner,
        example: Example,
        look: InPython,
    ) -> Source:
        """Capture a model for an example.

        Args:
            model: a module, or an exported program.
            partition: what puts regions into a captured graph.
            example: inputs by place and by name.
            look: the functions that compare what modules hold.

        Raises:
            TraceError: for a model that cannot be captured.
        """
        program = isinstance(model, ExportedProgram)
        held = {0: model.state_dict, 1: model.constants} if program else model
        # Before the capture: what changes meanwhile is then seen at the next call.
        structure = Structure(held, look.entries)
        captured = Capture.of(model, *example)
        numbers = _apart_from_graph(structure, captured) if not program else []
        watch = Watch(numbers, look) if numbers else None
        return cls(model, partition, structure, partition(captured), example, watch)

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        """The variant for inputs of a signature not met before.

        Raises:
            ArgumentError: for inputs that the model does not take.
            TraceError: for a model that cannot be captured with them.
        """
        form = pattern(args, kwargs)
        if _is_empty(self.example) and not _is_empty((args, kwargs)):
            # Nothing is computed for an empty batch, so it decides nothing.
            self.first, self.example = self.alone(args, kwargs), (args, kwargs)
            self._recording.clear()
            return self.first
        for other, variant in self._free:
            if other == form and variant.captured.takes(args, kwargs):
                return variant
        if isinstance(self.model, nn.Module):
            calls = record(self.model, args, kwargs)
            if calls is not None and self._as_first(form, calls):
                return self.first
            free = worth_freeing((args, kwargs), self.example)
            # What even fails without values is not worth more than one attempt.
            again = (form, free) in self._tried
            if (calls is not None or self._first_calls() is None) and not again:
                self._tried.add((form, free))
                captured = Capture.of_free_sizes(self.model, args, kwargs, free)
                if captured is not None:
                    variant = self.partition(captured)
                    self._free.append((form, variant))
                    return variant
        return self.alone(args, kwargs)

    def alone(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        """A variant for inputs of these sizes alone.

        Raises:
            TraceError: for a model that cannot be captured with them.
        """
        return self.partition(Capture.of(self.model, args, kwargs))

    def renew(self, variant: Variant) -> Variant:
        """The same graph with the weights of now, in the place of the variant."""
        fresh = self.partition(variant.captured)
        if self.first is variant:
            self.first = fresh
        self._free = [(form, fresh if v is variant else v) for form, v in self._free]
        return fresh

    def _as_first(self, form: Any, calls: list[Any]) -> bool:
        """Whether the model did for inputs of this pattern what it did for the example."""
        return (
            without_sizes(pattern(*self.example)) == without_sizes(form)
            and not names_sizes(self.first.captured.program)
            and calls == self._first_calls()
        )

    def _first_calls(self) -> list[Any] | None:
        """What the model called for the example."""
        assert isinstance(self.model, nn.Module)
        if not self._recording:
            self._recording.append(record(self.model, *self.example))
        return self._recording[0]


def _apart_from_graph(structure: Structure, captured: Capture) -> list[Tensor]:
    """Tensors in plain attributes that the graph does not refer to: `float` of one is a number."""
    model, program = captured.network.model, captured.program
    assert isinstance(model, nn.Module)
    known = [*model.parameters(), *model.buffers(), *program.state_dict.values()]
    known += [value for value in program.constants.values() if isinstance(value, Tensor)]
    places = {tensor.untyped_storage()._cdata for tensor in filter(_has_memory, known)}
    return [
        tensor
        for tensor in filter(_has_memory, structure.tensors)
        if tensor.untyped_storage()._cdata not in places
    ]


def _has_memory(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    return plain and tensor.is_cpu and bool(tensor.numel())


def _is_empty(example: Example) -> bool:
    return any(isinstance(leaf, Tensor) and not leaf.numel() for leaf in tree_leaves(example))
