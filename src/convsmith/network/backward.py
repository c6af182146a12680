"""What each layer reads of its operands, and how positions run along the axes of the image."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import lcm
from weakref import WeakKeyDictionary

from convsmith.arithmetic import Box, Positions
from convsmith.network.families import Trait, family_of
from convsmith.network.families.rules import everything
from convsmith.network.network import Layer, Network
from convsmith.network.shapes import Axes, whole

__all__ = [
    "at_position", "image_dims", "image_of", "inputs_of", "joins", "one_of_batch", "periods",
    "space_of", "spatial_axes", "strides",
]  # fmt: skip

# What is asked of one network again and again, for as long as it lives.
_AXES: WeakKeyDictionary[Network, dict[str, Axes]] = WeakKeyDictionary()
_PERIODS: WeakKeyDictionary[Network, dict[str, tuple[int, ...]]] = WeakKeyDictionary()
_STRIDES: WeakKeyDictionary[Network, dict[str, dict[int, Fraction]]] = WeakKeyDictionary()


def spatial_axes(network: Network) -> dict[str, Axes]:
    """For each layer, which dimensions of its result run along the image's spatial axes.

    They begin as those of the image's layout, by default the dimensions after batch and channels,
    and end where a layer joins them: global pooling, flattening, attention.
    """
    if network not in _AXES:
        found: dict[str, Axes] = {}
        for layer in network:
            found[layer.name] = _axes_of(layer, found)
        _AXES[network] = found
    return _AXES[network]


def image_of(network: Network) -> str:
    """The first input that has axes of space or time; '' if none has."""
    axes = spatial_axes(network)
    return next((i for i in network.inputs if any(a is not None for a in axes[i])), "")


def image_dims(network: Network) -> tuple[int, ...]:
    """The dimensions of the image that are its axes, in the order of the axes."""
    image = image_of(network)
    if not image:
        return ()
    axes = spatial_axes(network)[image]
    return tuple(axes.index(a) for a in sorted(a for a in axes if a is not None))


def space_of(network: Network) -> tuple[int, ...]:
    """The lengths of the image's axes."""
    shape = network[image_of(network)].shape if image_of(network) else ()
    return tuple(shape[d] for d in image_dims(network))


def one_of_batch(network: Network, name: str) -> bool:
    """Whether the first dimension of a layer is taken to be the batch, of which one item counts."""
    image, axes = image_of(network), spatial_axes(network)
    shape = network[name].shape
    if not shape or not image or axes[name][0] is not None or axes[image][0] is not None:
        return False
    layout = network[image].operation.settings.get("layout", "N")
    return str(layout).startswith("N") and shape[0] == network[image].shape[0]


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
                mine[axis] *= family_of(layer).step(layer, place)
        found[layer.name] = {axis: step for axis, step in mine.items() if axis in axes[layer.name]}
    _STRIDES[network] = found
    return found


def periods(network: Network) -> dict[str, tuple[int, ...]]:
    """After how many positions along each axis every layer on the way has moved by whole ones."""
    if network in _PERIODS:
        return _PERIODS[network]
    steps = strides(network)
    found: dict[str, tuple[int, ...]] = {}
    dims = 1 + max((axis for mine in steps.values() for axis in mine), default=-1)
    behind: dict[str, tuple[frozenset[Fraction], ...]] = {}
    for layer in network:
        mine, period = [], []
        for axis in range(dims):
            sets = {behind[source][axis] for source in layer.inputs}
            upstream = sets.pop() if len(sets) == 1 else frozenset().union(*sets)
            step = steps[layer.name].get(axis)
            period.append(_common(step, upstream) if step else 1)
            mine.append(upstream if step is None or step in upstream else upstream | {step})
        behind[layer.name], found[layer.name] = tuple(mine), tuple(period)
    _PERIODS[network] = found
    return found


@lru_cache
def _common(step: Fraction, upstream: frozenset[Fraction]) -> int:
    return lcm(*((step / of).denominator for of in upstream))


def _axes_of(layer: Layer, known: Mapping[str, Axes]) -> Axes:
    sources = [known[source] for source in layer.inputs]
    if not sources and layer.kind != "input":
        return (None,) * len(layer.shape)
    return family_of(layer).axes(layer, sources)


def inputs_of(
    network: Network, layer: Layer, box: Box, result: int, *, bounded: bool
) -> list[tuple[int, str, int, Box]]:
    """(operand, layer, which of its results, positions) of each input that is read.

    Rules speak of tensors. A number that was computed counts whatever it is for: a bound, a slope,
    a value that fills.
    """
    if layer.kind == "select":
        source = layer.inputs[0] if layer.inputs else None
        which = layer.operation.settings.get("argument_1", 0)
        return [(0, source, which, box)] if source and isinstance(which, int) else []
    names = dict(zip(layer.places, layer.inputs, strict=True))
    rule = family_of(layer).reads or everything
    found = [
        (number, names[number], 0, part)
        for number, part in rule(layer, box, result, bounded)
        if number in names
    ]
    read = {number for number, *_ in found}
    return found + [
        (number, source, 0, ())
        for number, source in names.items()
        if layer.operands[number].number and number not in read
    ]


def at_position(shape: tuple[int, ...], axes: Axes, position: int) -> Box:
    """One position along every spatial axis of a tensor, everything along the other dimensions."""
    return tuple(
        everything if axis is None else Positions.of([position])
        for axis, everything in zip(axes, whole(shape), strict=True)
    )


def joins(layer: Layer, before: Axes, after: Axes, shape: tuple[int, ...], part: Box) -> bool:
    """Whether a layer reads a whole axis of the map at once; `part` is read for one position."""
    family = family_of(layer)
    lost = {axis for axis in before if axis is not None} - set(after)
    full = {
        axis
        for axis, length, positions in zip(before, shape, part, strict=True)
        if axis is not None and length > 1 and positions == Positions.range(0, length)
    }
    if family.has(Trait.WINDOWED):  # a position picked from a lost axis is not the whole of it
        return bool(lost & full)
    return bool(lost) or (bool(full) and family.has(Trait.JOINS_AXIS))
