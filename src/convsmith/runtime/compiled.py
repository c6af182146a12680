"""A compiled network: what `compile` gives, to be called in the place of the model."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from convsmith.arithmetic.normalise import count
from convsmith.errors import ArgumentError, TraceError, first_line
from convsmith.kernels.watching import InPython
from convsmith.network import Network
from convsmith.network.example import example_inputs
from convsmith.network.lock import LOCK
from convsmith.runtime.agreement import Agreement, agreement
from convsmith.runtime.background import Background
from convsmith.runtime.execution.unfit import UnfitError
from convsmith.runtime.graph.gate import gate
from convsmith.runtime.graph.signature import describe, signature
from convsmith.runtime.graph.snapshot import snapshot
from convsmith.runtime.graph.source import Example, Partitioner, Source
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.inference import ForInference
from convsmith.runtime.origins import IMAGES
from convsmith.runtime.origins import origins as origins_of
from convsmith.runtime.precision import FLOAT32, Precision
from convsmith.runtime.shortcut import Shortcut, shortcut

if TYPE_CHECKING:
    # Halide has no wheel for every machine: these are imported where there are kernels.
    from convsmith.runtime.execution.region import Progress, Region
    from convsmith.runtime.profile import Profile

__all__ = ["Compiled"]

_VARIANTS = 32
"""Signatures remembered at once."""


class Compiled(ForInference):
    """A network for inference; made by `compile`.

    It serves any inputs that the model serves. A size that is new to it costs milliseconds where
    the model computes the same for every size; where its code depends on the size, that size is
    captured like the first one. It may be called from several threads, beside the model, whose
    modules are never touched. The memory of the last large result, above 4 MiB, is kept for another
    call once nothing refers to that result any more.

    What is changed in the model is taken over at the next call: parameters and buffers that were
    written to, replaced or given other memory; layers, hooks and attributes that were replaced,
    added or removed. Writes that PyTorch does not count (through `.data` or NumPy) are found by
    their values: those to a whole tensor at once, those to a part of a large one within some calls,
    as all weights are compared in turns. `refresh` takes over everything at once; it is needed for
    what lies outside of the modules (globals, closures, methods of a class). A frozen network takes
    nothing over.

    Under `torch.autocast` on the processor, torch runs the network, as it does the model.

    Attributes:
        threads: how many threads the kernels use.
        frozen: whether it keeps the weights that it was compiled with.
        precision: `float32` or `bf16`: what its kernels compute with.
        keep: in bf16, the layers that stay float32: those that were named, and those that the
            agreement needs that was asked for.
        winograd: whether dense convolutions may take fewer products.
        price: what `compare` gave for the images that an agreement was asked for with.
    """

    # A copy of a model's modules may use it: it keeps nothing of a call.
    shared_by_shadows = True

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        example: Example,
        partition: Partitioner,
        threads: int,
        look: InPython,
        frozen: bool = False,
        new_sizes: str = "wait",
        precision: Precision = FLOAT32,
    ) -> None:
        super().__init__()
        self.threads, self.frozen, self.precision = threads, frozen, precision.name
        self.winograd = precision.winograd
        self.keep = tuple(sorted(precision.keep))
        self.price: Agreement | None = None
        self._look = look
        self._prepared: list[Example] = []
        self._background = Background(model, self._prepare) if new_sizes == "torch" else None
        self._start(Source.of(model, partition, example, look))

    def _start(self, source: Source) -> None:
        self._quick: Shortcut | None = None
        self._latest: list[torch.Size] = []
        self._source = source
        variants: OrderedDict[Any, Variant] = OrderedDict()
        variants[signature(*source.example)] = source.first
        self._variants = variants
        if self._background is not None:
            self._background.forget()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation mode, without gradients.

        Raises:
            ArgumentError: for inputs that the model does not take.
        """
        if not torch.compiler.is_compiling():
            return self._run(args, kwargs)
        if not torch.compiler.is_dynamo_compiling() and _are_plain(args, kwargs):
            return self._run(args, kwargs)  # another thread exports something
        if not self._is_example(args, kwargs):
            return self._apart(args, kwargs)
        with torch.no_grad():
            return self.graph(*args, **kwargs)

    @property
    def current(self) -> Variant | None:
        """What serves the example; None if the model has changed since. Others that hold it ask."""
        source = self._source
        if not self.frozen and (source.changed or source.first.watch.changed):
            return None
        return source.first

    def take_over(self) -> None:
        """Take over what was changed in the model, as a call does."""
        self._variant(*self._source.example)

    @property
    def graph(self) -> nn.Module:
        """The graph for the example."""
        return self._source.first.graph

    @property
    def network(self) -> Network:
        """What it was made from, at the size of the example."""
        return self._source.first.network

    @property
    def reasons(self) -> dict[str, str]:
        """For each layer that runs in torch, why."""
        return self._source.first.reasons

    @property
    def regions(self) -> list[Region]:
        """The parts that kernels compute."""
        return self._source.first.regions

    @property
    def in_one_region(self) -> bool:
        """Whether one part that kernels compute is all there is."""
        return self._source.first.only is not None

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

        count("rounds", rounds, 1, 10_000)
        inputs, named = (args, {}) if args else self._source.example
        with torch.no_grad():
            return profile(self._variant(inputs, named), inputs, named, self.threads, rounds)

    def plan(self, *args: Any, rounds: int = 20) -> Profile:
        """The old name of `profile`."""
        warnings.warn(
            "Compiled.plan() measures and is now called profile()", DeprecationWarning, stacklevel=2
        )
        return self.profile(*args, rounds=rounds)

    def compare(self, images: Any, *, origins: bool = True) -> Agreement:
        """How far the outputs are from those of the model, which torch runs in float32.

        Args:
            images: a tensor (images, channels, rows, columns), or batches of such; of a tuple or a
                list the first entry counts, so that a data loader with labels will do.
            origins: in bf16, also which blocks the error comes from: a forward and some backward
                passes with the first images.

        Raises:
            ArgumentError: for no images, or what the model does not take.

        >>> import convsmith as cs
        >>> import torch
        >>> from torch import nn
        >>> fast = cs.compile(nn.Conv2d(3, 8, 3).eval(), (1, 3, 16, 16), threads=1)
        >>> result = fast.compare(torch.rand(4, 3, 16, 16))
        >>> result.images, result.error < 1e-6
        (4, True)
        """
        first: list[Tensor] = []

        def reference(batch: Tensor) -> Any:
            if sum(map(len, first)) < IMAGES:
                first.append(batch)
            with torch.no_grad():
                return self._variant((batch,), {}).plain(batch)

        def call(batch: Tensor) -> Any:
            if self._background is not None:  # else torch would run a batch of a new size
                self._prepare((batch,), {})
                self._background.note(signature((batch,), {}))
            return self(batch)

        found = agreement(self.network.name, self.precision, images, call, reference)
        if not origins or self.precision == "float32":
            return found
        some = first[0] if len({batch.shape[1:] for batch in first}) > 1 else torch.cat(first)
        return replace(found, origins=origins_of(lambda batch: self._variant((batch,), {}), some))

    def refresh(self) -> None:
        """Take over all that was changed in the model, even where it cannot be seen.

        Raises:
            ArgumentError: for a frozen network, which has its own weights, and for a model that no
                longer takes the example.
        """
        if self.frozen:
            raise ArgumentError("a frozen network keeps its weights: compile the model again")
        self._renew(self._source)

    def prepare(self, sizes: Sequence[Any] | None = None, progress: Progress | None = None) -> None:
        """Compile all that inputs of some sizes need, so that no call with them waits for it.

        Args:
            sizes: examples of the inputs, each as for `compile`: a shape, a tensor, or several;
                that of `compile` unless given.
            progress: called with `(what, done, of)`.

        Raises:
            ArgumentError: for inputs that the model does not take.

        >>> import convsmith as cs
        >>> from torch import nn
        >>> fast = cs.compile(nn.Conv2d(3, 8, 3).eval(), (1, 3, 16, 16), threads=1)
        >>> fast.prepare([(1, 3, 24, 32), (4, 3, 16, 16)])
        """
        if sizes is None:
            for region in self.regions:
                shapes = [self.network[block.name].shape for block in region.inputs]
                region.prepare([region.tensors.size(shape) for shape in shapes], progress)
            if self._background is not None:
                self._background.note(signature(*self._source.example))
            return
        model = self._source.model
        holder = model.module(check_guards=False) if isinstance(model, ExportedProgram) else model
        for done, example in enumerate(sizes, start=1):
            args, kwargs = example_inputs(holder, example)
            self._prepare(args, kwargs)
            self._prepared = [*self._prepared, (args, kwargs)][-_VARIANTS:]
            if self._background is not None:
                self._background.note(signature(args, kwargs))
            if progress is not None:
                progress("compiling sizes", done, len(sizes))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _apart(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Other sizes than the example's, within `torch.compile`: called as it is."""
        return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        gate.enter()
        try:
            quick = self._quick  # another thread may take it away
            if quick is not None and not kwargs and not _is_special():
                found = quick(*args)
                if found is not NotImplemented:
                    return found
            if self._background is not None:
                key = signature(args, kwargs)
                if not self._background.is_ready(key) or self._stale:
                    return self._background.run(key, args, kwargs)
            variant = self._variant(args, kwargs)
            try:
                run: Callable[..., Any]
                if torch.is_autocast_enabled("cpu"):
                    run = variant.plain  # whose operations take other types then
                else:
                    run = variant.lean or variant.whole
                    self._learn(variant, args, kwargs)
                if not torch.is_grad_enabled():
                    return run(*args, **kwargs)
                torch._C._set_grad_enabled(False)  # a context costs a call two microseconds
                try:
                    return run(*args, **kwargs)
                finally:
                    torch._C._set_grad_enabled(True)
            except UnfitError:
                return self._run_alone(args, kwargs)
            except (RuntimeError, ArgumentError) as error:
                raise self._refused(args, kwargs, error) from error
        finally:
            gate.leave()

    @property
    def _stale(self) -> bool:
        """Whether the model has other parts than those that were compiled."""
        if self.frozen or not self._source.changed:
            return False
        assert self._background is not None
        self._background.forget()
        return True

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with LOCK:
            self._variant(args, kwargs).prepare(args, kwargs)

    def _run_alone(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Serve inputs that differ from others of their pattern, by a graph for them alone."""
        with LOCK, torch.no_grad():
            variant = self._source.alone(args, kwargs)
            self._keep(signature(args, kwargs), variant)
        with torch.no_grad():
            try:
                return variant.whole(*args, **kwargs)
            except UnfitError:
                return variant.plain(*args, **kwargs)

    def _variant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        if not self.frozen and self._source.changed:
            self._renew(self._source)
        key = signature(args, kwargs)
        variants = self._variants
        variant = variants.get(key)
        if variant is not None and (self.frozen or not variant.watch.changed):
            try:  # noqa: SIM105 (a context costs a call two microseconds)
                variants.move_to_end(key)
            except KeyError:  # another thread has dropped it
                pass
            return variant
        with LOCK:
            variant = self._variants.get(key)
            if variant is None:
                if _is_transformed():
                    raise self._refused(args, kwargs, TraceError(""))
                try:
                    variant = self._source.find(args, kwargs)
                except TraceError as error:
                    raise self._refused(args, kwargs, error) from error
                self._keep(key, variant)
            if not self.frozen and variant.watch.changed:
                variant = self._with_new_weights(key, variant, args, kwargs)
        return variant

    def _learn(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make a shortcut for inputs that come a second time in succession."""
        region, source = variant.alone, self._source
        if region is None or kwargs or _is_special():
            return
        key = [value.shape for value in args]
        if key != self._latest:
            self._latest = key
            return
        self._latest = []
        quick = shortcut(region, args, None if self.frozen else (source, variant.watch))
        # A call that has all it needs waits for no capture of another thread.
        if quick is None or not LOCK.acquire(blocking=False):
            return
        try:
            if self._source is source and variant in self._variants.values():
                self._quick = quick
        finally:
            LOCK.release()

    def _keep(self, key: Any, variant: Variant) -> None:
        self._quick = None
        self._variants[key] = variant
        while len(self._variants) > _VARIANTS:
            self._variants.popitem(last=False)

    def _with_new_weights(
        self, key: Any, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Variant:
        if variant.watch.converted:
            self._start(self._captured_again(args, kwargs))
            return self._variant(args, kwargs)
        fresh = self._source.renew(variant)
        for other, held in list(self._variants.items()):
            if held is variant:
                self._variants[other] = fresh
        self._keep(key, fresh)
        return fresh

    def _refused(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> ArgumentError:
        if _is_transformed():
            error = TraceError(_TRANSFORMED)
        # It was traced when it was compiled: only the reason is news.
        reason = first_line(error).removeprefix(f"{self.network.name} cannot be traced: ")
        return ArgumentError(
            f"the compiled {self.network.name}, made for {describe(*self._source.example)}, "
            f"does not take {describe(args, kwargs)}: {reason}"
        )

    def _renew(self, old: Source) -> None:
        """Take over what was changed: compile again, for the same example."""
        with LOCK:
            if self._source is old:
                self._start(self._captured_again(*old.example))

    def _captured_again(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Source:
        old = self._source
        try:
            return Source.of(old.model, old.partition, old.example, self._look)
        except TraceError as error:
            raise self._refused(args, kwargs, error) from error

    def _is_example(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        ours, inputs = (tree_leaves(both) for both in (self._source.example, (args, kwargs)))
        return len(ours) == len(inputs) and all(
            isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and a.shape == b.shape
            and a.dtype == b.dtype
            for a, b in zip(ours, inputs, strict=True)
        )

    def _apply(self, fn: Any, recurse: bool = True) -> NoReturn:
        raise ArgumentError(
            "a compiled network stays on the processor in float32: convert the model, then compile"
        )

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        sizes: Sequence[Any] | None = None,
        source: bool = True,
        force: bool = False,
    ) -> Path:
        """Write what `convsmith.load` runs without tracing and compiling: a `.cvs`.

        The file holds the programs for some sizes, the weights of now, and machine code for this
        processor's instruction set. It also holds the network as an exported program, so that who
        does not trust machine code, or has another processor, can compile it again.

        Args:
            path: the file.
            sizes: examples of the inputs that it is to serve, each as for `compile`; unless given,
                that of `compile` and those of `prepare`.
            source: whether the program is included; the file has half the size without.
            force: replace a file that exists.

        Raises:
            ArgumentError: for a file that exists, or inputs that the model does not take.
            ConvsmithError: for a network with operations that a stored one may not call, and where
                kernels run through the JIT, as there is no C compiler.

        >>> import tempfile, convsmith as cs
        >>> from pathlib import Path
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> fast, image = cs.compile(net, (1, 3, 16, 16), threads=1), torch.rand(2, 3, 16, 16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = cs.load(fast.save(Path(folder, "net.cvs")))
        >>> torch.equal(again(image), fast(image))
        True
        """
        from convsmith.report.saving import check_target, save_bytes
        from convsmith.runtime.stored.writing import content_of

        check_target(path, force)
        if not isinstance(force, bool):
            raise ArgumentError(f"force is True or False, not {force!r}")
        sizes = self._sizes if sizes is None else sizes
        if not sizes:
            raise ArgumentError("sizes names no size that the file is to serve")
        content = content_of(self, sizes, source=source)
        return save_bytes(path, content, force)

    @property
    def _sizes(self) -> list[Any]:
        """The example, and what was prepared, as examples."""
        return [_as_example(*inputs) for inputs in (self._source.example, *self._prepared)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        copied = Compiled(
            snapshot(self._source.model), self._source.example, self._source.partition,
            self.threads, self._look, True,
            precision=Precision(self.precision, frozenset(self.keep), self.winograd),
        )  # fmt: skip
        copied.price = self.price
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        count = sum(len(region.blocks) for region in self.regions)
        kept = f", but {len(self.keep)} layers" if self.keep else ""
        narrow = "" if self.precision == "float32" else f", {self.precision}{kept}"
        return (
            f"Compiled({self.network.name}: {count} blocks in {len(self.regions)} regions, "
            f"threads: {self.threads}{narrow})"
        )


def _as_example(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs or list(args)


_TRANSFORMED = "torch.func does not reach into kernels: transform the model that it was made from"


def _is_transformed() -> bool:
    """Whether torch.func computes derivatives, or maps over a batch, around this call."""
    return torch._C._functorch.maybe_current_level() is not None


def _is_special() -> bool:
    """Whether calls are other than they look: of other types, or seen by something of torch."""
    return (
        torch.is_autocast_enabled("cpu")
        or torch._C._len_torch_dispatch_stack() > 0
        or _is_transformed()
    )


def _are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether tensors have values: what is exported has others."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    return all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
