"""A captured network as stages: programs of regions, one after another, and where they read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from convsmith.errors import ConvsmithError
from convsmith.exporting.library.collected import Collected
from convsmith.network.lock import LOCK
from convsmith.runtime.execution.region import PREPARING, Made, Region
from convsmith.runtime.execution.team import Team
from convsmith.runtime.graph.capture import Capture
from convsmith.runtime.graph.free import Inputs, leaves
from convsmith.runtime.graph.partition import partition
from convsmith.runtime.graph.variant import Variant
from convsmith.runtime.lowering.block import Array

__all__ = ["Layout", "Place", "Stage", "Where", "arranged", "only_torch"]

_ALIGNMENT = 64
_VIEWS = ("reshape", "identity")
"""Kinds of operations whose result is their input, in another shape."""


class Where(IntEnum):
    """What an address counts from, as in net.c."""

    ARENA = 0
    WEIGHTS = 1
    INPUT = 2
    OUTPUT = 3


@dataclass(frozen=True)
class Place:
    """Where a tensor begins.

    Attributes:
        where: in which memory.
        which: input or output.
        offset: bytes.
        step: bytes from one image to the next.
    """

    where: Where
    which: int = 0
    offset: int = 0
    step: int = 0


@dataclass(frozen=True)
class Stage:
    """A program that is run for each image, or bytes that are copied.

    Attributes:
        places: of its bases, or of what is copied and where to.
        calls: structured as `CALL`, functions being numbers.
        arguments: structured as `ARGUMENT`.
        images: how often it is run.
        copied: bytes.
    """

    places: tuple[Place, ...]
    calls: Array | None = None
    arguments: Array | None = None
    images: int = 1
    copied: int = 0


@dataclass(frozen=True)
class Layout:
    """All that is run for one batch.

    Attributes:
        stages: in this order.
        weights: what the programs read.
        memory: bytes of the arena for maps, and for tensors between stages.
        library: the kernels.
    """

    stages: tuple[Stage, ...]
    weights: bytes
    memory: int
    library: Collected


def arranged(captured: Capture, inputs: Inputs, library: Collected) -> Layout:
    """Cut a network into regions and lay out what they read and write.

    Args:
        captured: the network.
        inputs: of the size that is served, dense.
        library: collects the kernels.

    Raises:
        ConvsmithError: for layers that only torch computes, by name.
    """
    made: list[Made] = []
    with LOCK, torch.no_grad():
        variant = partition(captured, library, Team(1), every=True)
        if left := _in_torch(variant):
            raise ConvsmithError(
                f"{variant.network.name} cannot become a C library: only torch computes "
                f"{', '.join(left.values())}; partial=True (--partial) exports what comes before"
            )
        _leave_out_copies(variant)
        PREPARING.made = made
        try:
            variant.prepare(*inputs)
        finally:
            PREPARING.made = None
    sizes = [leaf.nbytes for leaf in leaves(inputs)]
    return _Arranger(variant, sizes, made, library).layout()


def only_torch(captured: Capture, library: Collected) -> dict[str, str]:
    """The layers that no kernel computes: by their nodes, the name of each with the reason."""
    with LOCK, torch.no_grad():
        return _in_torch(partition(captured, library, Team(1), every=True))


def _in_torch(variant: Variant) -> dict[str, str]:
    layers = {layer.node: layer for layer in variant.network}
    alone = {}
    for node in _calls(variant):
        layer = layers.get(node.name)
        values = () if layer is None else (*layer.operands, *layer.results)
        plain = all(value.dtype == "float32" for value in values)
        if layer is None or layer.operation.kind not in _VIEWS or not plain:
            name = node.name if layer is None else layer.name
            alone[node.name] = f"{name} ({variant.reasons.get(name) or node.target})"
    return alone


def _leave_out_copies(variant: Variant) -> None:
    """Read what was copied, perhaps with the channels last: here all tensors are dense."""
    graph: Any = variant.graph.graph
    kinds = {layer.node: layer.operation.kind for layer in variant.network}
    for node in list(_calls(variant)):
        if kinds[node.name] == "identity":
            source: Any = node.args[0]
            node.replace_all_uses_with(source)
            graph.erase_node(node)
    variant.graph.recompile()


def _calls(variant: Variant) -> Iterator[Node]:
    """The operations that are left between regions; not those that pick a result, or check one."""
    graph: Any = variant.graph.graph
    for node in graph.nodes:
        name = str(getattr(node.target, "__name__", ""))
        if node.op == "call_function" and name != "getitem" and not name.startswith("_assert"):
            yield node


@dataclass
class _Value:
    """A dense tensor: where it is, and its bytes."""

    place: Place
    nbytes: int


@dataclass
class _Arranger:
    variant: Variant
    inputs: list[int]  # their bytes
    made: list[Made]
    library: Collected
    stages: list[Stage] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    maps: int = 0
    between: list[int] = field(default_factory=list)  # bytes of tensors between stages

    def layout(self) -> Layout:
        graph: Any = self.variant.graph.graph
        nodes = list(graph.nodes)
        # Maps come first in the arena, and their size is known once all programs are.
        self.maps = max((_up(sized.program.memory, 4096) for _, _, sized in self.made), default=0)
        results = [leaf for leaf in tree_leaves(nodes[-1].args[0]) if isinstance(leaf, Node)]
        values: dict[Node, Any] = {}
        wanted = self._wanted(results)
        programs = iter(self.made)
        inputs = iter(enumerate(self.inputs))
        for node in nodes[:-1]:
            if node.op == "placeholder":
                number, nbytes = next(inputs)
                values[node] = _Value(Place(Where.INPUT, number), nbytes)
            elif node.op == "call_module":
                region: Any = self.variant.graph.get_submodule(str(node.target))
                sources = [values[source] for source in node.args]
                values[node] = self._region(node, region, next(programs), sources, wanted)
            elif node.op == "call_function":
                source = values[node.args[0]]
                values[node] = source[node.args[1]] if isinstance(source, list) else source
        self._copies(results, values)
        memory = self.maps + sum(self.between)
        return Layout(tuple(self.stages), bytes(self.weights), memory, self.library)

    def _wanted(self, results: Sequence[Node]) -> dict[tuple[Node, int], int]:
        """For results of regions that are outputs, in whatever shape, which output they are."""
        wanted: dict[tuple[Node, int], int] = {}
        for number, node in enumerate(results):
            which = 0
            while node.op == "call_function":
                if getattr(node.target, "__name__", "") == "getitem":
                    which = int(node.args[1])  # type: ignore[arg-type]
                node = node.args[0]  # type: ignore[assignment]
            if node.op == "call_module":
                wanted.setdefault((node, which), number)
        return wanted

    def _region(
        self,
        node: Node,
        region: Region,
        made: Made,
        sources: Sequence[_Value],
        wanted: dict[tuple[Node, int], int],
    ) -> Any:
        other, key, sized = made
        assert other is region
        threads, last, *kinds = key
        assert threads == 1
        assert not last, "the example is dense, and so is all that follows from it"
        vectors = any(block.vectors for block in region.inputs)
        # A key names the shape of one image, and that of all vectors.
        reads = [4 * prod(kind[0]) for kind in kinds]
        images = 1 if vectors else sources[0].nbytes // reads[0]
        start = len(self.weights)
        memory = region.constants.memory.tobytes()
        self.weights += memory + bytes(-len(memory) % _ALIGNMENT)
        results = []
        for number, size in enumerate(sized.results):
            nbytes = 4 * images * prod(size)
            output = wanted.get((node, number))
            if output is None:
                place = Place(Where.ARENA, 0, self.maps + sum(self.between))
                self.between.append(_up(nbytes, _ALIGNMENT))
            else:
                place = Place(Where.OUTPUT, output)
            results.append(_Value(place, nbytes))
        ends = [*sources, *results]
        steps = [*reads, *(4 * prod(size) for size in sized.results)]
        places = [Place(Where.ARENA), Place(Where.WEIGHTS, 0, start)]
        for value, step in zip(ends, steps, strict=True):
            place = value.place
            places.append(Place(place.where, place.which, place.offset, step if images > 1 else 0))
        program = sized.program
        self.stages.append(Stage(tuple(places), program.calls[0], program.arguments, images))
        return results if len(results) > 1 else results[0]

    def _copies(self, results: Sequence[Node], values: dict[Node, Any]) -> None:
        """Outputs that are other outputs, or inputs."""
        for number, node in enumerate(results):
            value = values.get(node)
            if value is None:
                raise ConvsmithError(f"output {number} does not depend on an input")
            if value.place != Place(Where.OUTPUT, number):
                target = Place(Where.OUTPUT, number)
                self.stages.append(Stage((value.place, target), copied=value.nbytes))


def _up(number: int, to: int) -> int:
    return -(-number // to) * to
