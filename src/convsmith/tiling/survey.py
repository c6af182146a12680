"""A network looked at for tiling: which dimensions a tile cuts, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from convsmith.errors import ArgumentError
from convsmith.network import Layer, Network
from convsmith.network.families import family_of
from convsmith.runtime.precision import FLOAT32, Precision
from convsmith.tiling.crops import Axes, Question, crop_of, is_random, refusal
from convsmith.tiling.crops.statistics import is_global, reduced_dims

if TYPE_CHECKING:
    from convsmith.runtime.graph.rings import Rings

__all__ = ["Obstacle", "Survey", "survey"]


@dataclass(frozen=True)
class Obstacle:
    """A layer that cannot be computed tile by tile.

    Attributes:
        layer: its name.
        operation: what it does.
        reason: why a tile is not enough.
        swept: whether statistics from a sweep over the whole image can stand in.
    """

    layer: str
    operation: str
    reason: str
    swept: bool

    def __str__(self) -> str:
        return f"{self.layer} ({self.operation}): {self.reason}"


@dataclass(frozen=True, eq=False)
class Survey:
    """What tiling asks of a network that was traced at the size of the whole image.

    Attributes:
        network: its layers.
        output: the layer whose result is computed.
        axes: for each layer the axis of the image along each dimension of its result; None for
            dimensions that a tile never cuts.
        precision: of compiled kernels.
    """

    network: Network
    output: str
    axes: Mapping[str, Axes]
    precision: str = FLOAT32.name

    @property
    def image(self) -> Layer:
        """The input."""
        return self.network[self.network.inputs[0]]

    @property
    def result(self) -> Layer:
        """The output."""
        return self.network[self.output]

    @cached_property
    def needed(self) -> frozenset[str]:
        """The layers that the output depends on, itself among them."""
        return frozenset({self.output, *(la.name for la in self.network.upstream(self.output))})

    @cached_property
    def parts(self) -> dict[tuple[int, ...], list[int]]:
        """By the lengths of a tile, those of the part that it runs on; filled by `part_size`."""
        return {}

    @cached_property
    def rings(self) -> Rings | None:
        """What streams through kernels hold; None where they do not compute all of the output."""
        if list(self.network.outputs) != [self.output]:
            return None
        try:
            from convsmith.runtime.graph.rings import Rings
        except ImportError:  # Halide has no wheel for this machine
            return None
        return Rings.of(self.network, Precision(self.precision))

    @cached_property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """The layers in the way, in the order in which they run."""
        obstacles = list(self._random)
        named = {obstacle.layer for obstacle in obstacles}
        behind: set[str] = set()  # what depends on a layer that nothing can stand in for
        for layer in self.network:
            if layer.name not in self.needed or layer.constant or layer.name in named:
                continue
            question = self._question(layer)
            reason = refusal(question) or _loses_axis(question)
            after = not behind.isdisjoint(layer.inputs)
            if after and layer.kind == "attention":
                # Its tokens are the map in another shape: it is what the user has to hear of.
                reason = crop_of(layer).refuse(question)
            swept = bool(reason) and crop_of(layer).swept(question)
            if reason:
                obstacles.append(Obstacle(layer.name, str(layer.operation), reason, swept))
            if after or (reason and not swept):
                behind.add(layer.name)
        return tuple(obstacles)

    @cached_property
    def _random(self) -> tuple[Obstacle, ...]:
        """What draws random numbers for the output, even where no tile cuts it."""
        layers = {layer.node: layer for layer in self.network}
        nodes = {node.name: node for node in self.network.program.graph.nodes}
        waiting, before = [nodes[self.result.node]], set()
        while waiting:
            node = waiting.pop()
            if node not in before:
                before.add(node)
                waiting += node.all_input_nodes
        return tuple(
            Obstacle(
                layers[node.name].name if node.name in layers else node.name,
                str(layers[node.name].operation) if node.name in layers else node.name,
                "its values are random",
                False,
            )
            for node in nodes.values()
            if node in before and is_random(node)
        )

    @cached_property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The layers to be swept, those of one sweep together: each waits for those before it."""
        depth: dict[str, int] = {}
        swept = {obstacle.layer for obstacle in self.obstacles}
        levels: list[list[str]] = []
        for layer in self.network:
            before = max((depth[source] for source in layer.inputs if source in depth), default=0)
            if layer.name in swept:
                if len(levels) == before:
                    levels.append([])
                levels[before].append(layer.name)
                before += 1
            depth[layer.name] = before
        return tuple(map(tuple, levels))

    def _question(self, layer: Layer) -> Question:
        names = dict(zip(layer.places, layer.inputs, strict=True))
        operands = tuple(
            self.axes[names[number]] if number in names else (None,) * len(operand.shape)
            for number, operand in enumerate(layer.operands)
        )
        picks = [
            consumer.operation.settings.get("argument_1", 0)
            for consumer in self.network.consumers(layer.name)
            if consumer.kind == "select" and consumer.name in self.needed
        ]
        return Question(layer, operands, self.axes[layer.name], tuple(picks) or (0,))


def survey(network: Network, output: int = 0, precision: str = FLOAT32.name) -> Survey:
    """Look at a network for tiling.

    Args:
        network: traced at the size of the whole image.
        output: which of its outputs is computed.
        precision: of compiled kernels.

    Raises:
        ArgumentError: for a network with several inputs, or without such an output.
    """
    if len(network.inputs) != 1:
        names = ", ".join(network.inputs) or "none"
        raise ArgumentError(f"{network.name} must have one input to be tiled; its inputs: {names}")
    if not 0 <= output < len(network.outputs):
        raise ArgumentError(
            f"{network.name} has {len(network.outputs)} outputs; there is no output {output}"
        )
    return Survey(network, network.outputs[output], _axes(network), precision)


def _axes(network: Network) -> dict[str, Axes]:
    """The axes of the image along each result; where a map ends for a field, it may begin again.

    A tile cuts more than a receptive field follows: maps that are made large again after a global
    pool, adaptive pools whose windows are small, and maps that are stacked.
    """
    known: dict[str, Axes] = {}
    image = len(network[network.inputs[0]].shape)
    for layer in network:
        before = [known[source] for source in layer.inputs]
        axes: Axes = (None,) * len(layer.shape)
        if before or layer.kind == "input":
            axes = family_of(layer).axes(layer, before)
        if layer.kind == "upsample" and not any_axis(axes) and len(axes) == image:
            axes = (None, None, *range(image - 2))
        elif layer.kind == "adaptive pool" and before:
            axes = tuple(
                None if axis is None or is_global(layer, dim) else axis
                for dim, axis in enumerate(before[0])
            )
        elif layer.operation.name == "stack" and before:
            dim = layer.operation.settings.get("dim", 0) % len(layer.shape)
            axes = (*before[0][:dim], None, *before[0][dim:])
        elif layer.kind == "reduction" and before:
            axes = _reduced(layer, before[0])
        elif layer.kind == "creation" and before and len(before[0]) == len(axes):
            axes = before[0]  # `zeros_like` and its kin
        known[layer.name] = axes
    return known


def _reduced(layer: Layer, before: Axes) -> Axes:
    """The axes that a reduction leaves."""
    dims = reduced_dims(layer)
    if len(layer.shape) == len(before):
        scan = layer.operation.name in ("cumprod", "cumsum")
        return tuple(None if d in dims and not scan else a for d, a in enumerate(before))
    return tuple(axis for d, axis in enumerate(before) if d not in dims)


def _loses_axis(question: Question) -> str:
    """Whatever its kind: a result without an axis of its operand needs all of that axis."""
    if crop_of(question.layer).drops:
        return ""
    kept = set(question.result)
    lost = {
        axis
        for axes, operand in zip(question.operands, question.layer.operands, strict=True)
        for axis, length in zip(axes, operand.shape, strict=True)
        if axis not in kept and length > 1
    }
    return "it joins an axis of the map" if lost else ""


def any_axis(axes: Axes) -> bool:
    """Whether a dimension runs along an axis of the image."""
    return any(axis is not None for axis in axes)
