"""Which channels of a result see what some channels of an operand have seen.

Channels are numbered row-major over all dimensions of a tensor but the first and the spatial ones,
so that a shuffle of channels through five dimensions, or a map with its channels last, stay exact.
"""

from __future__ import annotations

from math import prod

from convsmith.arithmetic import Box, Conv, ConvTranspose, Positions
from convsmith.network.network import Layer
from convsmith.network.reads import permutation
from convsmith.network.shapes import flattened

__all__ = ["all_channels", "carry", "channel_dims", "numbers_of"]

Shape = tuple[int, ...]
_ONE = Positions.of([0])

_SAME = {
    "activation", "batch norm", "elementwise", "expand", "identity", "norm", "pool", "reshape",
    "select", "slice", "upsample",
}  # fmt: skip
_MIXED = {"linear", "norm", "softmax"}


def channel_dims(axes: tuple[int | None, ...]) -> list[int]:
    """The dimensions that channels are numbered over."""
    return [d for d, axis in enumerate(axes) if d and axis is None]


def all_channels(shape: Shape, axes: tuple[int | None, ...]) -> Positions:
    """The numbers of all channels of a tensor."""
    return Positions.range(0, prod(shape[d] for d in channel_dims(axes)))


def numbers_of(box: Box, shape: Shape, axes: tuple[int | None, ...]) -> Positions:
    """The numbers of the channels that a product of positions holds."""
    dims = channel_dims(axes)
    return flattened([box[d] for d in dims], [shape[d] for d in dims]) if dims else _ONE


def carry(
    layer: Layer,
    channels: Positions,
    *,
    operand: int,
    nth: int,
    result: int,
    before: tuple[Shape, tuple[int | None, ...]],
    after: tuple[Shape, tuple[int | None, ...]],
    in_place: bool,
) -> Positions | None:
    """The channels of a result that read at least one of some channels of an operand.

    Args:
        layer: a layer.
        channels: of its operand.
        operand: which operand.
        nth: which one of the parts that its rule yields.
        result: which of its results.
        before: shape of the operand, and which of its dimensions run along spatial axes.
        after: the same of the result.
        in_place: whether each channel of the result reads the same channel alone.

    Returns:
        The channels; None where it cannot be said.
    """
    shape, axes = after
    theirs, ours = channel_dims(before[1]), channel_dims(axes)
    everything = all_channels(*after)
    if layer.kind == "concat":
        return _concat(layer, channels, operand, theirs)
    if layer.kind == "pad":
        return _pad(layer, channels, len(shape), theirs)
    if layer.kind == "pixel unshuffle":
        r = layer.operation.settings["downscale_factor"]
        return channels.scale(r * r).shift(nth)
    if layer.kind == "pixel shuffle":
        r = layer.operation.settings["upscale_factor"]
        return channels.shift(-nth).divide(r * r)
    if channels == all_channels(*before):
        return everything
    if layer.kind == "channel shuffle":
        groups = layer.operation.settings["groups"]
        each = shape[1] // groups
        return Positions.of({c % each * groups + c // each for c in channels})
    if layer.kind in ("convolution", "transposed convolution"):
        spec = layer.operation.arithmetic
        assert isinstance(spec, (Conv, ConvTranspose))
        read, given = spec.in_channels // spec.groups, spec.out_channels // spec.groups
        groups = channels if read == 1 else Positions.of({c // read for c in channels})
        return groups.scale(given).spread(given, 1)
    if layer.kind in ("slice", "split"):
        return _cut(layer, channels, result, before[0], theirs, everything)
    if layer.kind == "permute":
        return _permuted(layer, channels, before[0], theirs, ours)
    if layer.kind in _MIXED and not in_place:  # each channel reads all along one dimension
        single = sum(before[0][d] > 1 for d in theirs) == 1
        return everything if single else None
    if layer.operation.name == "glu":
        if len(theirs) != 1:
            return None
        half = len(everything)
        return channels.clip(0, half) | channels.clip(half, 2 * half).shift(-half)
    same = [before[0][d] for d in theirs] == [shape[d] for d in ours] or layer.kind == "reshape"
    return channels if layer.kind in _SAME and same and before[0][:1] == shape[:1] else None


def _concat(layer: Layer, channels: Positions, operand: int, dims: list[int]) -> Positions | None:
    total = layer.shape
    dim = layer.operation.settings.get("dim", 0) % len(total)
    if layer.operation.name not in ("cat", "concat", "concatenate") or dim not in dims:
        return None
    if any(len(other.shape) != len(total) for other in layer.operands):
        return None
    if any(total[d] > 1 for d in dims if d != dim):
        return None
    return channels.shift(sum(other.shape[dim] for other in layer.operands[:operand]))


def _pad(layer: Layer, channels: Positions, dims: int, free: list[int]) -> Positions | None:
    settings = layer.operation.settings
    sides = settings.get("pad", settings.get("padding"))
    moved = {dims - 1 - i: sides[2 * i] for i in range(len(sides) // 2) if any(sides[2 * i :][:2])}
    if moved.get(0) or (len(free) > 1 and any(d in moved for d in free)):
        return None
    low = moved.get(free[0], 0) if free else 0
    return channels.shift(low).clip(0, layer.shape[free[0]]) if free else channels


def _cut(
    layer: Layer,
    channels: Positions,
    result: int,
    shape: Shape,
    dims: list[int],
    everything: Positions,
) -> Positions | None:
    dim = layer.operation.settings.get("dim", 0) % len(shape)
    if dim not in dims:
        return channels
    if layer.operation.name in ("select", "unbind") or any(shape[d] > 1 for d in dims if d != dim):
        return None
    if layer.kind == "split":
        start, step = sum(part.shape[dim] for part in layer.results[:result]), 1
    else:
        start = layer.operation.settings.get("start") or 0
        start = max(0, start + shape[dim]) if start < 0 else min(start, shape[dim])
        step = layer.operation.settings.get("step", 1)
    return channels.shift(-start).divide(step) & everything


def _permuted(
    layer: Layer, channels: Positions, shape: Shape, theirs: list[int], ours: list[int]
) -> Positions | None:
    order = permutation(layer)
    if order[0] != 0:
        return None
    wanted = [order[d] for d in ours]
    if wanted == theirs:
        return channels
    numbers = []
    for channel in channels:
        place = {}
        for d in reversed(theirs):
            channel, place[d] = divmod(channel, shape[d])
        moved = 0
        for d in wanted:
            moved = moved * shape[d] + place[d]
        numbers.append(moved)
    return Positions.of(numbers)
