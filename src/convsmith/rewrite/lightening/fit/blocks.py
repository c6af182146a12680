"""A network cut into the stretches between its joins, each of which can be run alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from convsmith.network import Layer, Network
from convsmith.network.families import Trait, family_of

__all__ = ["Block", "blocks_of", "program_nodes"]

_MOST = 4
"""Lighter layers in a block of a chain that has neither joins nor pools."""


@dataclass(frozen=True, eq=False)
class Block:
    """Operations that follow one another.

    Attributes:
        nodes: of the exported program, in order; not those that depend on weights alone.
        inputs: nodes before it whose results it, or what comes after it, still needs.
        outputs: nodes up to its end whose results are needed after it; those of the network are.
        layers: paths of the lighter layers in it; none if there is nothing to fit.
        parameters: names of the other parameters that only this block uses.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    layers: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def fitted(self) -> tuple[Node, ...]:
        """The outputs that it computes itself."""
        own = set(self.nodes)
        return tuple(node for node in self.outputs if node in own)


def program_nodes(network: Network) -> tuple[dict[Node, str], list[Node]]:
    """The placeholders of weights, each with its name, and those of inputs."""
    graph = network.program.graph
    targets = {
        spec.arg.name: str(spec.target)
        for spec in network.program.graph_signature.input_specs
        if spec.kind.name != "USER_INPUT"
    }
    found = [node for node in graph.nodes if node.op == "placeholder"]
    weights = {node: targets[node.name] for node in found if node.name in targets}
    return weights, [node for node in found if node not in weights]


def blocks_of(network: Network, lighter: Mapping[str, str]) -> list[Block]:
    """The blocks of a network in order; only those with a lighter layer are to be fitted.

    A block ends where a result is read more than once, where branches have met and gone through
    what follows them, and in a plain chain where the resolution changes: after a residual block,
    after the two convolutions of a U-Net's level, after a stage of a VGG.

    Args:
        network: traced for the batch that will be run.
        lighter: the convolutions that have a lighter form: the name of the layer, and its path.
    """
    graph = _Graph(network)
    places = {layer.node: lighter[layer.name] for layer in network if layer.name in lighter}
    cuts: list[int] = []
    found = 0
    begin = 0
    for index, node in enumerate(graph.operations[:-1]):
        found += node.name in places
        live = graph.live(index)
        if not all(_is_batch(each, graph.batch) for each in live):
            continue
        if graph.is_join(index) or (
            len(live) == 1
            and (graph.changes_size(index) or (found >= _MOST and graph.rests(index)))
        ):
            cuts.append(index + 1)
            found = 0
    blocks = []
    for end in (*cuts, len(graph.operations)):
        blocks.append(graph.block(begin, end, places))
        begin = end
    return blocks


class _Graph:
    """The operations of a program that depend on its input, and what they read."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.weights, self.inputs = program_nodes(network)
        self.layers: dict[str, Layer] = {layer.node: layer for layer in network}
        moved = set(self.inputs)
        every = [node for node in network.program.graph.nodes if node.op == "call_function"]
        for node in every:
            if moved.intersection(node.all_input_nodes):
                moved.add(node)
        self.operations = [node for node in every if node in moved]
        self.moved = moved
        self.order = {node: index for index, node in enumerate(self.operations)}
        end = len(self.operations)
        self.last = {
            node: max((self.order.get(user, end) for user in node.users), default=-1)
            for node in moved
        }
        sizes = [node.meta["val"].shape[0] for node in self.inputs if _tensor(node) is not None]
        self.batch = sizes[0] if sizes else 0

    def live(self, index: int) -> list[Node]:
        """What is computed up to an operation and read after it."""
        known = (*self.inputs, *self.operations[: index + 1])
        return [node for node in known if self.last[node] > index]

    def readers(self, node: Node) -> list[Node]:
        """The operations that read a result."""
        return [user for user in node.users if user in self.order]

    def is_join(self, index: int) -> bool:
        """Whether branches part or have met here."""
        node = self.operations[index]
        if len(self.readers(node)) > 1:
            return True
        if self._continues(node):
            return False
        while not self._merges(node):
            if not self._follows(node):
                return False
            node = node.all_input_nodes[0]
        return True

    def changes_size(self, index: int) -> bool:
        """Whether the map has become smaller here, or is about to."""
        layer = self.layers.get(self.operations[index].name)
        if layer is not None and layer.kind == "pool":
            return True
        following = self.layers.get(self.operations[index + 1].name)
        strides = following.operation.settings.get("stride", ()) if following else ()
        convolves = following is not None and following.kind == "convolution"
        return convolves and any(s != 1 for s in _several(strides))

    def rests(self, index: int) -> bool:
        """Whether the next operation is neither a norm nor an activation."""
        return not self._continues(self.operations[index])

    def block(self, begin: int, end: int, places: Mapping[str, str]) -> Block:
        """The operations from one place up to another."""
        nodes = self.operations[begin:end]
        before = self.live(begin - 1) if begin else list(self.inputs)
        outputs = self.live(end - 1) if end < len(self.operations) else self._answers()
        replaced = {node for node in nodes if node.name in places}
        elsewhere = self._weights_of(node for node in self.operations if node not in set(nodes))
        own = self._weights_of(node for node in nodes if node not in replaced)
        # One that has several names may be used elsewhere by another.
        given = {p.name for p in self.network.parameters.values() if not (p.buffer or p.aliases)}
        names = dict.fromkeys(self.weights[node] for node in own - elsewhere)
        return Block(
            nodes=tuple(nodes),
            inputs=tuple(before),
            outputs=tuple(outputs),
            layers=tuple(places[node.name] for node in nodes if node in replaced),
            parameters=tuple(sorted(name for name in names if name in given)),
        )

    def _answers(self) -> list[Node]:
        (output,) = [n for n in self.network.program.graph.nodes if n.op == "output"]
        return [node for node in dict.fromkeys(output.all_input_nodes) if node in self.moved]

    def _weights_of(self, nodes: Iterable[Node]) -> set[Node]:
        """The weights that operations read, or read what is made of."""
        found: set[Node] = set()
        todo = [source for node in nodes for source in node.all_input_nodes]
        while todo:
            node = todo.pop()
            if node not in self.moved and node not in found:
                found.add(node)
                todo += node.all_input_nodes
        return found & self.weights.keys()

    def _continues(self, node: Node) -> bool:
        readers = self.readers(node)
        return len(readers) == 1 and self._follows(readers[0])

    def _follows(self, node: Node) -> bool:
        """Whether it is a norm or an activation, which belongs to what is before it."""
        layer = self.layers.get(node.name)
        sources = [source for source in node.all_input_nodes if source in self.moved]
        return (
            layer is not None
            and layer.kind in ("activation", "batch norm")
            and len(sources) == 1
            and node.all_input_nodes[0] is sources[0]
        )

    def _merges(self, node: Node) -> bool:
        layer = self.layers.get(node.name)
        sources = {source for source in node.all_input_nodes if source in self.moved}
        return layer is not None and len(sources) > 1 and family_of(layer).has(Trait.MERGES)


def _tensor(node: Node) -> Tensor | None:
    value = node.meta.get("val")
    return value if isinstance(value, Tensor) else None


def _is_batch(node: Node, batch: int) -> bool:
    """Whether a result is a tensor with one entry per image."""
    value = _tensor(node)
    return value is not None and value.ndim > 0 and value.shape[0] == batch


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else (value,)
