"""The backward walk: from positions of one layer's result to all that they depend on."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from convsmith.arithmetic import Box, Region
from convsmith.arithmetic.region import shortened
from convsmith.network.backward import at_position, inputs_of, joins, spatial_axes
from convsmith.network.families import Trait, family_of
from convsmith.network.network import Layer, Network
from convsmith.network.shapes import Axes, whole

__all__ = ["MOST_BOXES", "Dependence", "depends_on"]

MOST_BOXES = 256
"""More products than this in one tensor become the one that holds them: a bound, found quickly."""


@dataclass(frozen=True)
class Dependence:
    """What some positions of a layer depend on.

    Attributes:
        inputs: for each input of the network, the positions that are read, all dimensions.
        layers: the same for every layer on the way.
        guessed: layers without a rule, which were taken to read everything.
        globals: layers that join a whole axis of the map, left out where only the local field was
            asked for.
        rounded: layers of whose positions so many products were asked that one product stands for
            them, which holds more (see `MOST_BOXES`).
        ends: for each (layer, result) at which the walk was to end, the positions that are read.
    """

    inputs: Mapping[str, Region]
    layers: Mapping[str, Region]
    guessed: tuple[str, ...] = ()
    globals: tuple[str, ...] = field(default=())
    rounded: tuple[str, ...] = field(default=())
    ends: Mapping[tuple[str, int], Region] = field(default_factory=dict)

    @property
    def is_bound(self) -> bool:
        """Whether more may be named than what is read."""
        return bool(self.guessed or self.rounded)


def depends_on(
    network: Network,
    name: str,
    boxes: Iterable[Box],
    *,
    local: bool = False,
    until: Container[tuple[str, int]] = (),
    instead: Layer | None = None,
) -> Dependence:
    """Walk backwards from positions of `name` to the inputs, exactly.

    Args:
        network: a traced network.
        name: a layer.
        boxes: positions of its (first) result: products of one set a dimension.
        local: take the map as unbounded and leave out what joins a whole axis of it (global
            pooling, attention): what is then read moves with the position, and may lie outside
            the image. Otherwise positions are clipped to each tensor: what is read in truth.
        until: results of layers, (name, number), behind which nothing is asked.
        instead: a layer that stands in for the one of the same name.

    The time is linear in the number of layers: each is asked once for all that is read of it, in
    at most `MOST_BOXES` products.
    """
    walk = _Walk(network, local, {(name, 0): list(boxes)})
    ends: dict[tuple[str, int], Region] = {}
    for own in reversed(network.layers):
        layer = instead if instead is not None and instead.name == own.name else own
        for result in range(max(1, len(layer.results))):
            region = walk.region(layer, result)
            if not region or layer.constant:
                continue
            if (layer.name, result) in until:
                ends[layer.name, result] = region
            else:
                walk.back(layer, result, region)
    layers = {key[0]: region for key, region in walk.found.items() if key[1] == 0}
    return Dependence(
        inputs={i: layers[i] for i in network.inputs if i in layers},
        layers=layers,
        guessed=tuple(dict.fromkeys(walk.guessed)),
        globals=tuple(dict.fromkeys(walk.globals)),
        rounded=tuple(dict.fromkeys(walk.rounded)),
        ends=ends,
    )


class _Walk:
    """One walk back: what is asked of each result so far, and what has been left out or added."""

    def __init__(
        self, network: Network, local: bool, asked: dict[tuple[str, int], list[Box]]
    ) -> None:
        self.network, self.local, self.asked = network, local, asked
        self.axes = spatial_axes(network) if local else {}
        self.found: dict[tuple[str, int], Region] = {}
        self.guessed: list[str] = []
        self.globals: list[str] = []
        self.rounded: list[str] = []

    def region(self, layer: Layer, result: int) -> Region:
        """Everything that is asked of a result, when all that read it have been passed."""
        boxes = self.asked.pop((layer.name, result), ())
        region, rounded = shortened(boxes, MOST_BOXES)
        if rounded:
            self.rounded.append(layer.name)
        if region:
            self.found[layer.name, result] = region
        return region

    def back(self, layer: Layer, result: int, region: Region) -> None:
        """Ask the operands of a layer for what these positions of a result read."""
        family = family_of(layer)
        if family.guesses(layer):
            self.guessed.append(layer.name)
        single = None
        if self.local and family.has(Trait.JOINS_AXIS):
            one = at_position(layer.results[result].shape, self.axes[layer.name], 0)
            single = inputs_of(self.network, layer, one, result, bounded=False)
        for box in region:
            parts = inputs_of(self.network, layer, box, result, bounded=not self.local)
            for (_, source, which, part), (*_, read) in zip(parts, single or parts, strict=True):
                shape = self.network[source].results[which].shape
                if self.local and self._joins(layer, source, shape, read):
                    self.globals.append(layer.name)
                    if not family.has(Trait.STATISTICS):
                        continue
                    part = box  # without them it is a function of each value
                clipped = _clip(part, shape, self.axes.get(source, ()))
                self.asked.setdefault((source, which), []).append(clipped)

    def _joins(self, layer: Layer, source: str, shape: tuple[int, ...], read: Box) -> bool:
        return joins(layer, self.axes.get(source, ()), self.axes[layer.name], shape, read)


def _clip(box: Box, shape: tuple[int, ...], axes: Axes) -> Box:
    """The part of a product that lies in the tensor; along an unbounded axis all of it."""
    free = axes or (None,) * len(shape)
    return tuple(
        positions if axis is not None else positions & limit
        for positions, limit, axis in zip(box, whole(shape), free, strict=True)
    )
