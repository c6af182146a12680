"""Runs a network for a tile: each layer computes its range; a tensor goes after its last reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from convsmith.network import Layer
from convsmith.tiling.crops import Call, crop_of, normalised
from convsmith.tiling.patch import Patch
from convsmith.tiling.ranges import Key, Ranges, ranges
from convsmith.tiling.spans import Spans, whole
from convsmith.tiling.survey import Survey

__all__ = ["Interpreter", "Statistics", "last_readers"]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What sweeps over the whole image have needs.

    Attributes:
        values: results of layers that read the whole map.
        moments: mean and variance (batch, groups), in float64, of norms.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    moments: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Interpreter:
    """A traced network that computes parts of its results."""

    def __init__(self, survey: Survey, device: str = "cpu") -> None:
        self.survey = survey
        self.device = torch.device(device)
        program = survey.network.program
        self._nodes: dict[str, Node] = {node.name: node for node in program.graph.nodes}
        self._constants: dict[str, Any] = {}

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        """Parameters, buffers and constants by the node that stands for them."""
        program = self.survey.network.program
        stored = {**program.state_dict, **program.constants}
        weights = {}
        for spec in program.graph_signature.input_specs:
            if spec.kind.name != "USER_INPUT" and spec.target in stored:
                value = stored[spec.target]
                if isinstance(value, Tensor):
                    weights[spec.arg.name] = value.detach().to(self.device)
        return weights

    def _fixed(self, node: Node) -> Any:
        """A value that depends on no image: a parameter, or what follows from parameters alone."""
        if node.name in self._weights:
            return self._weights[node.name]
        if node.name not in self._constants:
            if node.op == "get_attr":
                value = attrgetter(str(node.target))(self.survey.network.program.graph_module)
            else:
                target: Any = node.target
                args, kwargs = map_arg((node.args, node.kwargs), self._fixed)
                with torch.no_grad():
                    value = target(*args, **kwargs)
            self._constants[node.name] = tree_map(self._moved, value)
        return self._constants[node.name]

    def _moved(self, value: Any) -> Any:
        return value.to(self.device) if isinstance(value, Tensor) else value

    def ranges(self, tile: Mapping[str, Spans], known: Statistics | None = None) -> Ranges:
        """What a tile needs of each layer."""
        known = known or Statistics()
        return ranges(self.survey, tile, values=known.values, normalised=known.moments)

    def run(
        self, image: Patch, targets: Mapping[str, Spans], known: Statistics | None = None
    ) -> dict[str, Tensor]:
        """Compute parts of results.

        Args:
            image: the part of the image that they need (`ranges`), or more.
            targets: the parts, by layer.
            known: statistics of the whole image, for layers that need them.
        """
        known = known or Statistics()
        needs = self.ranges(targets, known)
        last = last_readers(self.survey, needs)
        alive: dict[Key, Patch] = {(self.survey.image.name, 0): image}
        results: dict[str, Tensor] = {}
        with torch.no_grad():
            for layer in self.survey.network:
                for result in range(max(1, len(layer.results))):
                    key = (layer.name, result)
                    if key not in needs.spans:
                        continue
                    if key not in alive:
                        alive[key] = self._patch(layer, key, needs, alive, known)
                    if result == 0 and layer.name in targets:
                        part = alive[key].narrow(targets[layer.name])
                        results[layer.name] = part.tensor
                for done in last.get(layer.name, ()):
                    alive.pop(done, None)
        return results

    def _patch(
        self, layer: Layer, key: Key, needs: Ranges, alive: Mapping[Key, Patch], known: Statistics
    ) -> Patch:
        spans = needs.spans[key]
        shape = layer.results[key[1]].shape
        if layer.name in known.values:
            return Patch(known.values[layer.name].to(self.device), whole(shape), shape)
        if layer.constant:
            return Patch(self._fixed(self._nodes[layer.node]), whole(shape), shape)
        node = self._nodes[layer.node]
        parts: dict[int, Patch] = {
            read.number: alive[read.source].narrow(read.spans) for read in needs.reads[key]
        }
        operands: list[Patch | None] = []
        for number, source in enumerate(_tensors(node)):
            if number in parts:
                operands.append(parts[number])
            elif number in layer.places:
                operands.append(None)
            else:
                tensor = self._fixed(source)
                fixed = Patch(tensor, whole(tensor.shape), tuple(tensor.shape))
                operands.append(_beside(layer, fixed, spans))
        call = Call(layer, node, operands, spans, key[1])
        if layer.name in known.moments:
            return Patch(normalised(call, *known.moments[layer.name]), spans, shape)
        return Patch(crop_of(layer).compute(call), spans, shape)


def _beside(layer: Layer, fixed: Patch, spans: Spans) -> Patch:
    """The part of a parameter that broadcasts to a part of the result, or is joined to it.

    Such as a position embedding, or a grid of coordinates as further channels.
    """
    if layer.kind == "concat":
        dim = layer.operation.settings.get("dim", 0) % len(spans)
        along = () if layer.operation.name == "stack" else ((0, fixed.shape[dim]),)
        return fixed.narrow((*spans[:dim], *along, *spans[dim + 1 :]))
    if layer.kind != "elementwise" or not fixed.shape:
        return fixed
    place = spans[len(spans) - len(fixed.shape) :]
    full = layer.shape[len(spans) - len(fixed.shape) :]
    return fixed.narrow(
        tuple(
            (0, 1) if length == 1 and total != 1 else span
            for length, total, span in zip(fixed.shape, full, place, strict=True)
        )
    )


def _tensors(node: Node) -> list[Node]:
    """The tensors among a node's arguments, in order, one that is passed twice kept twice."""
    leaves = tree_leaves((node.args, node.kwargs), is_leaf=lambda leaf: isinstance(leaf, Node))
    return [leaf for leaf in leaves if isinstance(leaf, Node)]


def last_readers(survey: Survey, needs: Ranges) -> dict[str, list[Key]]:
    """For each layer the results that nobody reads after it."""
    readers: dict[Key, str] = {}
    order = {layer.name: place for place, layer in enumerate(survey.network)}
    for (name, _), reads in needs.reads.items():
        for read in reads:
            if read.source not in readers or order[readers[read.source]] < order[name]:
                readers[read.source] = name
    freed: dict[str, list[Key]] = {}
    for key, name in readers.items():
        freed.setdefault(name, []).append(key)
    return freed
