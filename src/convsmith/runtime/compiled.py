"""A compiled network: what `compile` gives, to be called in the place of the model."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NoReturn, Self

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from convsmith.errors import ArgumentError, TraceError, first_line
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.gate import gate
from convsmith.runtime.graph.signature import describe, signature
from convsmith.runtime.graph.source import Example, Partitioner, Source
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.graph.watch import Watch
from convsmith.runtime.lock import LOCK

if TYPE_CHECKING:
    # Halide has no wheel for every machine: these are imported where there are kernels.
    from convsmith.runtime.execution.region import Progress, Region
    from convsmith.runtime.profile import Profile

__all__ = ["Compiled"]

_VARIANTS = 32
"""Signatures remembered at once."""


class Compiled(nn.Module):
    """A network for inference; made by `compile`.

    It serves any inputs that the model serves. A size that is new to it costs milliseconds where
    the model computes the same for every size; where its code depends on the size, that size is
    captured like the first one. Weights that were changed in the model are taken over in the next
    call. It may be called from several threads. The memory of the last large result, above 4 MiB,
    is kept for another call once nothing refers to that result any more.

    Attributes:
        network: what it was made from, at the size of the example.
        threads: how many threads the kernels use.
        reasons: for each layer that runs in torch, why.
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        first: Variant,
        example: Example,
        partition: Partitioner,
        threads: int,
    ) -> None:
        super().__init__()
        super().train(False)
        self.threads = threads
        self._start(Source(model, partition, first, example))

    def _start(self, source: Source) -> None:
        first = source.first
        self._source, self._example = source, source.example
        self._variants: OrderedDict[Any, Variant] = OrderedDict()
        self._variants[signature(*source.example)] = first
        self.network, self.reasons = first.network, first.reasons
        program = first.captured.program
        values = (*program.state_dict.values(), *program.constants.values())
        # Batch norm's counts of batches do not change what it computes.
        weights = [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]
        executors = [region.library.executor for region in first.regions]
        self._watch = Watch(weights, executors[0].convsmith_prefetch if any(executors) else None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation mode, without gradients.

        Raises:
            ArgumentError: for inputs that the model does not take.
        """
        if not torch.compiler.is_compiling():
            return self._run(args, kwargs)
        if not self._is_example(args, kwargs):
            return self._apart(args, kwargs)
        with torch.no_grad():
            return self.graph(*args, **kwargs)

    @property
    def graph(self) -> nn.Module:
        """The graph for the example."""
        return self._source.first.graph

    @property
    def regions(self) -> list[Region]:
        """The parts that kernels compute."""
        return self._source.first.regions

    def profile(self, *args: Any, rounds: int = 20) -> Profile:
        """Each block: where it runs and why, and its milliseconds, measured here.

        Args:
            args: inputs to measure with; those of the example unless given.
            rounds: how often each block runs; its median counts.

        >>> import convsmith as cs
        >>> from torch import nn
        >>> fast = cs.compile(nn.Conv2d(3, 8, 3).eval(), (1, 3, 16, 16), threads=1)
        >>> [block.kernel for block in fast.profile(rounds=2).blocks]
        ['pack', 'dense', 'unpack']
        """
        from convsmith.runtime.profiler import profile

        inputs, named = (args, {}) if args else self._example
        with torch.no_grad():
            return profile(self._variant(inputs, named), inputs, named, self.threads, rounds)

    def plan(self, *args: Any, rounds: int = 20) -> Profile:
        """The old name of `profile`."""
        warnings.warn(
            "Compiled.plan() measures and is now called profile()", DeprecationWarning, stacklevel=2
        )
        return self.profile(*args, rounds=rounds)

    def prepare(self, progress: Progress | None = None) -> None:
        """Compile the kernels that images of the example's size need."""
        for region in self.regions:
            shapes = [self.network[block.name].shape for block in region.inputs]
            region.prepare([region.tensors.size(shape) for shape in shapes], progress)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _apart(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Other sizes than the example's, within `torch.compile`: called as it is."""
        return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        gate.enter()
        try:
            variant = self._variant(args, kwargs)
            try:
                run = variant.lean or variant.graph
                if not torch.is_grad_enabled():
                    return run(*args, **kwargs)
                with torch.no_grad():
                    return run(*args, **kwargs)
            except (RuntimeError, ArgumentError) as error:
                raise self._refused(args, kwargs, error) from error
        finally:
            gate.leave()

    def _variant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        if self._watch.changed:
            self._renew()
        key = signature(args, kwargs)
        variant = self._variants.get(key)
        if variant is not None:
            try:  # noqa: SIM105 (a context costs a call two microseconds)
                self._variants.move_to_end(key)
            except KeyError:  # another thread has dropped it
                pass
            return variant
        with LOCK:
            if key not in self._variants:
                try:
                    self._variants[key] = self._source.find(args, kwargs)
                except TraceError as error:
                    raise self._refused(args, kwargs, error) from error
            variant = self._variants[key]
            while len(self._variants) > _VARIANTS:
                self._variants.popitem(last=False)
        return variant

    def _refused(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> ArgumentError:
        return ArgumentError(
            f"the compiled {self.network.name}, made for {describe(*self._example)}, "
            f"does not take {describe(args, kwargs)}: {first_line(error)}"
        )

    def _renew(self) -> None:
        """Take over weights that were changed: compile again, for the same example."""
        with LOCK:
            if self._watch.changed:
                old = self._source
                first = old.partition(Capture.of(old.model, *old.example))
                self._start(Source(old.model, old.partition, first, old.example))

    def _is_example(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        ours, inputs = (tree_leaves(both) for both in (self._example, (args, kwargs)))
        return len(ours) == len(inputs) and all(
            isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and a.shape == b.shape
            and a.dtype == b.dtype
            for a, b in zip(ours, inputs, strict=True)
        )

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode.

        Raises:
            ArgumentError: for training mode.
        """
        if mode:
            raise ArgumentError("a compiled network is for inference: train the model it is from")
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> NoReturn:
        raise ArgumentError(
            "a compiled network stays on the processor in float32: convert the model, then compile"
        )

    def __reduce__(self) -> NoReturn:
        raise ArgumentError("a compiled network is machine code: copy or save its model instead")

    def __repr__(self) -> str:
        count = sum(len(region.blocks) for region in self.regions)
        return (
            f"Compiled({self.network.name}: {count} blocks in {len(self.regions)} regions, "
            f"threads: {self.threads})"
        )
