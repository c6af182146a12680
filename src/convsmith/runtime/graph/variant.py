"""Which graph serves which inputs: signatures, and where graphs come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_flatten, tree_leaves

from convsmith.errors import ArgumentError
from convsmith.network import Network
from convsmith.runtime.graph.capture import Capture, capture, capture_free, holds, unchecked
from convsmith.runtime.graph.rehearse import names_sizes, record
from convsmith.text import times

if TYPE_CHECKING:
    # Halide has no wheel for every machine: these are imported where there are kernels.
    from convsmith.runtime.execution.region import Region
    from convsmith.runtime.lowering.block import Block

__all__ = ["Source", "Variant", "describe", "signature"]


@dataclass(eq=False)
class Variant:
    """A graph with its regions.

    Attributes:
        captured: what it was made from.
        graph: what runs.
        reasons: for each layer that runs in torch, why.
        guarded: for a graph of free sizes, the graph with its guards.
        pattern: what inputs must have in common with those it was made for.
        recording: for the first graph, what the model called; empty as long as nobody asked.
    """

    captured: Capture
    graph: GraphModule
    reasons: dict[str, str]
    pattern: Any
    guarded: GraphModule | None = None
    recording: list[list[Any] | None] = field(default_factory=list)

    @property
    def network(self) -> Network:
        """The layers."""
        return self.captured.network

    @property
    def regions(self) -> list[Region]:
        """The parts that kernels compute."""
        found: list[Any] = [part for part in self.graph.children() if _is_region(part)]
        return found

    @cached_property
    def lean(self) -> Callable[..., Any] | None:
        """The graph as one function of tensors, without what modules and trees do around a call.

        That takes as long as some networks do. None where a graph takes or gives anything else.
        """
        program = self.captured.program
        args, kwargs = program.example_inputs or ((), {})
        spec = program.call_spec.out_spec
        plain = bool(args) and all(type(value) is Tensor for value in args)
        if kwargs or not plain or spec is None or not spec.is_leaf():
            return None
        graph, values = Graph(), dict[Node, Node]()
        graph.output(tree_leaves(graph.graph_copy(self.graph.graph, values))[0])
        regions: dict[Any, Any] = {
            name: part for name, part in self.graph.named_children() if _is_region(part)
        }
        for node in list(graph.nodes):
            if node.op == "call_module" and node.target in regions:
                with graph.inserting_after(node):
                    called = graph.call_function(regions[node.target].eager, node.args)
                node.replace_all_uses_with(called)
                graph.erase_node(node)
        return GraphModule(self.graph, graph).forward


class Source:
    """Makes the variants of one model.

    Args:
        model: a module, or an exported program.
        make: the module for the blocks of a region; None where there are no kernels.
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        make: Callable[[Sequence[Block]], nn.Module] | None,
    ) -> None:
        self.model, self.make = model, make
        self.first: Variant | None = None
        self.free: list[Variant] = []
        self._tried: set[Any] = set()

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        """The variant for inputs of a signature not met before.

        Raises:
            ArgumentError: for inputs that the model does not take.
        """
        pattern = _pattern(args, kwargs)
        for variant in self.free:
            guarded = variant.guarded if variant.pattern == pattern else None
            if guarded is not None and holds(guarded, args, kwargs):
                return variant
        if isinstance(self.model, nn.Module) and self.first is not None:
            now = record(self.model, args, kwargs)
            if now is not None and self._same(pattern, now):
                return self.first
            # What even fails without values is not worth more than one attempt.
            if (now is not None or self._recording() is None) and pattern not in self._tried:
                self._tried.add(pattern)
                if (found := capture_free(self.model, args, kwargs)) is not None:
                    captured, guarded = found
                    variant = self.build(captured, pattern, guarded)
                    self.free.append(variant)
                    return variant
        variant = self.build(capture(self.model, args, kwargs), pattern)
        if self.first is None:
            self.first = variant
        return variant

    def build(self, captured: Capture, pattern: Any, guarded: GraphModule | None = None) -> Variant:
        """Put regions into a graph."""
        if self.make is None:
            reasons = dict.fromkeys(
                (layer.name for layer in captured.network), "there are no kernels on this machine"
            )
            graph = captured.graph()
            unchecked(graph)
        else:
            from convsmith.runtime.graph.partition import partition

            graph, reasons = partition(captured, self.make)
        return Variant(captured, graph, reasons, pattern, guarded)

    def _same(self, pattern: Any, now: list[Any]) -> bool:
        """Whether the model did for inputs of this pattern what it did for the first ones."""
        first = self.first
        assert first is not None
        return (
            _kind(first.pattern) == _kind(pattern)
            and not names_sizes(first.captured.program)
            and now == self._recording()
        )

    def _recording(self) -> list[Any] | None:
        """What the model called for the first inputs."""
        first = self.first
        assert first is not None
        assert isinstance(self.model, nn.Module)
        if not first.recording:
            inputs = first.captured.program.example_inputs
            first.recording = [record(self.model, *inputs)]
        return first.recording[0]


def signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What decides which graph serves: the sizes and types of tensors, the values of others."""
    if not kwargs:
        for value in args:
            if not isinstance(value, Tensor):
                break
        else:
            return tuple([(value.shape, value.dtype, value.device) for value in args])
    leaves, spec = tree_flatten((args, kwargs))
    return (
        str(spec),
        *(
            (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else _value(leaf)
            for leaf in leaves
        ),
    )


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Inputs in words: their shapes and types."""
    return ", ".join(
        f"{times(leaf.shape) or 'a number'} {str(leaf.dtype).removeprefix('torch.')}"
        if isinstance(leaf, Tensor)
        else repr(leaf)
        for leaf in tree_leaves((args, kwargs))
    )


def _is_region(module: nn.Module) -> bool:
    return hasattr(module, "blocks")


def _pattern(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A signature without sizes, but for those below 2."""
    leaves, spec = tree_flatten((args, kwargs))
    return (
        str(spec),
        *(
            (tuple(min(n, 2) for n in leaf.shape), leaf.dtype, leaf.device)
            if isinstance(leaf, Tensor)
            else _value(leaf)
            for leaf in leaves
        ),
    )


def _kind(pattern: Any) -> Any:
    """A pattern without sizes: only ranks and types count."""
    spec, *leaves = pattern
    return spec, [(len(leaf[0]), *leaf[1:]) if len(leaf) == 3 else leaf for leaf in leaves]


def _value(leaf: Any) -> Any:
    if leaf is not None and not isinstance(leaf, (bool, int, float, str)):
        raise ArgumentError(f"inputs are tensors, numbers, text or None, not {type(leaf).__name__}")
    return (type(leaf), leaf)
