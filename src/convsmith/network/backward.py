"""The backward walk: from positions of one layer's result to all that they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from weakref import WeakKeyDictionary

from convsmith.arithmetic import Box, Positions, Region
from convsmith.network.network import Layer, Network
from convsmith.network.reads import HAS_RULE, permutation, reads
from convsmith.network.shapes import factor_groups, whole

__all__ = ["Axes", "Dependence", "depends_on", "spatial_axes", "strides", "uniform_fields"]

Axes = tuple[int | None, ...]
"""For each dimension of a tensor the spatial axis of the input that it still runs along."""

# Families that do the same at every position of a map without borders.
_UNIFORM = {
    "activation", "batch norm", "concat", "convolution", "elementwise", "identity", "linear",
    "norm", "pad", "permute", "pool", "slice",
}  # fmt: skip

# What is asked of one network again and again, for as long as it lives.
_AXES: WeakKeyDictionary[Network, dict[str, Axes]] = WeakKeyDictionary()
_STRIDES: WeakKeyDictionary[Network, dict[str, dict[int, Fraction]]] = WeakKeyDictionary()

# Families that keep each dimension in its place.
_IN_PLACE = {
    "activation", "batch norm", "convolution", "identity", "norm", "pad", "pool", "softmax",
    "transposed convolution", "upsample", "pixel shuffle", "pixel unshuffle", "roll", "linear",
}  # fmt: skip


@dataclass(frozen=True)
class Dependence:
    """What some positions of a layer depend on.

    Attributes:
        inputs: for each input of the network, the positions that are read, all dimensions.
        layers: the same for every layer on the way.
        guessed: layers without a rule, which were taken to read everything.
        globals: layers that join a whole axis of the map, left out where only the local field was
            asked for.
    """

    inputs: Mapping[str, Region]
    layers: Mapping[str, Region]
    guessed: tuple[str, ...] = ()
    globals: tuple[str, ...] = field(default=())


def depends_on(
    network: Network, name: str, boxes: Iterable[Box], *, local: bool = False
) -> Dependence:
    """Walk backwards from positions of `name` to the inputs, exactly.

    Args:
        network: a traced network.
        name: a layer.
        boxes: positions of its (first) result: products of one set a dimension.
        local: take the map as unbounded and leave out what joins a whole axis of it (global
            pooling, attention): what is then read moves with the position, and may lie outside
            the image. Otherwise positions are clipped to each tensor: what is read in truth.

    The time is linear in the number of layers.
    """
    axes = spatial_axes(network) if local else {}
    found: dict[tuple[str, int], Region] = {(name, 0): Region(boxes)}
    guessed, joined = [], []
    for layer in reversed(network.layers):
        for result in range(max(1, len(layer.results))):
            region = found.get((layer.name, result))
            if not region or layer.constant:
                continue
            if layer.kind not in HAS_RULE and layer.kind != "select":
                guessed.append(layer.name)
            for box in region:
                parts = _inputs_of(network, layer, box, result, bounded=not local)
                for source, which, part in parts:
                    kind = network[source].results[which].shape
                    mine = axes.get(source, ())
                    if local and _joins(layer, mine, axes[layer.name], kind, part):
                        joined.append(layer.name)
                        if layer.kind == "norm":
                            part = box  # without its statistics a norm is a function of each value
                        else:
                            continue
                    clipped = _clip(part, kind, mine)
                    key = (source, which)
                    found[key] = found.get(key, Region()) | Region([clipped])
    layers = {key[0]: region for key, region in found.items() if key[1] == 0}
    return Dependence(
        inputs={i: layers[i] for i in network.inputs if i in layers},
        layers=layers,
        guessed=tuple(dict.fromkeys(guessed)),
        globals=tuple(dict.fromkeys(joined)),
    )


def uniform_fields(network: Network) -> dict[str, Region]:
    """The local field of position 0 of every layer that sees alike at each position, in one pass.

    The field of a layer is the sum (Minkowski) of the positions that it reads, times the stride of
    its operand, and the operand's own field. It is exact while every position of the operand sees
    alike and every channel is read; a layer for which that does not hold is left out, with all that
    follow it.
    """
    if len(network.inputs) != 1:
        return {}  # a field lies in one image: positions of several must not be added up
    axes, steps = spatial_axes(network), strides(network)
    (image,) = network.inputs
    dims = len(network[image].shape) - 2
    found = {image: Region([(Positions.of([0]),) * dims])}
    for layer in network:
        if layer.kind not in _UNIFORM or not layer.inputs:
            continue
        mine = axes[layer.name]
        if sorted(a for a in mine if a is not None) != list(range(dims)):
            continue
        if any(step.denominator > 1 for step in steps[layer.name].values()):
            continue
        if any(steps[source] != steps[layer.inputs[0]] for source in layer.inputs[1:]):
            continue  # branches of unequal strides: the field changes with the position
        if layer.kind == "concat" and mine[layer.operation.settings.get("dim", 0)] is not None:
            continue
        seed = tuple(
            Positions.of([0]) if axis is not None else everything
            for axis, everything in zip(mine, whole(layer.shape), strict=True)
        )
        fields: list[Box] = []
        for source, which, part in _inputs_of(network, layer, seed, 0, bounded=False):
            shape, theirs = network[source].results[which].shape, axes[source]
            every_channel = all(
                axis is not None or positions & limit == limit
                for axis, positions, limit in zip(theirs, part, whole(shape), strict=True)
            )
            if source not in found or not every_channel or _joins(layer, theirs, mine, shape, part):
                fields = []
                break
            places = [theirs.index(axis) for axis in range(dims)]
            fields += [
                tuple(
                    _sum(own, part[place], int(steps[source][axis]))
                    for axis, (own, place) in enumerate(zip(box, places, strict=True))
                )
                for box in found[source]
            ]
        if fields:
            found[layer.name] = Region(fields)
    return found


def _sum(own: Positions, moved: Positions, step: int) -> Positions:
    total = Positions()
    for position in moved:
        total |= own.shift(position * step)
    return total


def spatial_axes(network: Network) -> dict[str, Axes]:
    """For each layer, which dimensions of its result run along the image's spatial axes.

    They begin as the dimensions behind batch and channels of the input, and end where a layer
    joins them: global pooling, flattening, attention.
    """
    if network not in _AXES:
        found: dict[str, Axes] = {}
        for layer in network:
            found[layer.name] = _axes_of(layer, found)
        _AXES[network] = found
    return _AXES[network]


def strides(network: Network) -> dict[str, dict[int, Fraction]]:
    """For each layer and spatial axis: how far the image moves when the position moves by one.

    Where branches of unequal strides meet, it is that of the first one.
    """
    if network in _STRIDES:
        return _STRIDES[network]
    axes = spatial_axes(network)
    found: dict[str, dict[int, Fraction]] = {}
    for layer in network:
        mine: dict[int, Fraction] = {}
        for source in reversed(layer.inputs):
            mine |= found[source]
        if layer.kind == "input":
            mine = dict.fromkeys(
                (axis for axis in axes[layer.name] if axis is not None), Fraction(1)
            )
        for place, axis in enumerate(axes[layer.name]):
            if axis is not None and axis in mine and layer.inputs:
                mine[axis] *= _step(layer, place)
        found[layer.name] = {axis: step for axis, step in mine.items() if axis in axes[layer.name]}
    _STRIDES[network] = found
    return found


def _step(layer: Layer, place: int) -> Fraction:
    """By how much the operand's position moves with the result's, along one dimension."""
    spec, settings = layer.operation.arithmetic, layer.operation.settings
    if spec is not None:
        stride = spec.stride[place - len(layer.shape)]
        return Fraction(1, stride) if spec.transposed else Fraction(stride)
    if layer.kind == "upsample":
        factors = settings.get("scale_factors")
        if factors:
            return 1 / Fraction(factors[place - len(layer.shape)]).limit_denominator(10**6)
        return Fraction(layer.operands[0].shape[place], layer.shape[place])
    if layer.kind == "pixel shuffle":
        return Fraction(1, settings["upscale_factor"])
    if layer.kind == "pixel unshuffle":
        return Fraction(settings["downscale_factor"])
    if layer.operation.name == "slice" and settings.get("dim", 0) % len(layer.shape) == place:
        return Fraction(settings.get("step", 1))
    return Fraction(1)


def _axes_of(layer: Layer, known: Mapping[str, Axes]) -> Axes:
    dims = len(layer.shape)
    if layer.kind == "input":
        return (None, None, *range(dims - 2)) if dims > 2 else (None,) * dims
    sources = [known[source] for source in layer.inputs]
    if not sources:
        return (None,) * dims
    mine = sources[0]
    if layer.kind in _IN_PLACE and len(mine) == dims:
        last = (None,) if layer.kind == "linear" else (mine[-1],)
        return (*mine[:-1], *last)
    if layer.kind in ("elementwise", "expand") or (layer.kind == "concat" and dims == len(mine)):
        merged: list[int | None] = [None] * dims
        for axes in sources:
            for place, axis in enumerate(axes, start=dims - len(axes)):
                merged[place] = axis if merged[place] is None else merged[place]
        return tuple(merged)
    if layer.kind == "permute":
        return tuple(mine[d] for d in permutation(layer))
    if layer.kind == "reshape":
        kept: list[int | None] = [None] * dims
        for ours, theirs in factor_groups(layer.operands[0].shape, layer.shape):
            if len(ours) == len(theirs) == 1:
                kept[theirs[0]] = mine[ours[0]]
        return tuple(kept)
    if layer.kind in ("slice", "split", "select") and dims == len(mine):
        return mine
    if layer.kind == "slice" and layer.operation.name == "select":
        dropped = layer.operation.settings["dim"] % len(mine)
        return tuple(axis for d, axis in enumerate(mine) if d != dropped)
    return (None,) * dims


def _inputs_of(
    network: Network, layer: Layer, box: Box, result: int, bounded: bool
) -> list[tuple[str, int, Box]]:
    """(layer, which of its results, positions) of each input that is read."""
    if layer.kind == "select":
        source = layer.inputs[0] if layer.inputs else None
        which = layer.operation.settings.get("argument_1", 0)
        return [(source, which, box)] if source and isinstance(which, int) else []
    names = dict(zip(layer.places, layer.inputs, strict=True))
    return [
        (names[number], 0, part)
        for number, part in reads(layer, box, result, bounded=bounded)
        if number in names
    ]


def _joins(layer: Layer, before: Axes, after: Axes, shape: tuple[int, ...], part: Box) -> bool:
    """Whether a layer reads a whole axis of the map at once."""
    if layer.kind in ("convolution", "transposed convolution", "pool", "upsample", "pad", "slice"):
        return False
    lost = {axis for axis in before if axis is not None} - set(after)
    full = any(
        axis is not None and length > 1 and positions == Positions.range(0, length)
        for axis, length, positions in zip(before, shape, part, strict=True)
    )
    return bool(lost) or (full and layer.kind in ("norm", "softmax", "attention", "matmul"))


def _clip(box: Box, shape: tuple[int, ...], axes: Axes) -> Box:
    """The part of a product that lies in the tensor; along an unbounded axis all of it."""
    free = axes or (None,) * len(shape)
    return tuple(
        positions if axis is not None else positions & limit
        for positions, limit, axis in zip(box, whole(shape), free, strict=True)
    )
