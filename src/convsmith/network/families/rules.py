"""Rules that several families share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.family import CostRule, Reads
from convsmith.network.shapes import Axes, Shape, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = [
    "all_or_unknown",
    "along",
    "axes_in_place",
    "axes_kept",
    "axes_merged",
    "axes_nowhere",
    "axis_of",
    "blocks",
    "computed",
    "everything",
    "first",
    "free",
    "index_of",
    "mixed_channels",
    "nothing",
    "per_channel",
    "per_value",
    "same_channels",
    "same_place",
    "serve",
    "served",
    "strided",
    "unmoved",
]  # fmt: skip


# What is read


def everything(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """All of every operand: an upper bound for any operation."""
    for number, operand in enumerate(layer.operands):
        yield number, whole(operand.shape)


everything.bound = True  # type: ignore[attr-defined]


def nothing(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """No operand."""
    return iter(())


def first(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The same positions of the first operand."""
    yield 0, box


def same_place(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The same place of every operand; a dimension of length 1 serves all."""
    shape = layer.results[result].shape
    for number, operand in enumerate(layer.operands):
        place = box[len(box) - len(operand.shape) :]
        lengths = zip(operand.shape, shape[len(shape) - len(operand.shape) :], strict=True)
        yield (
            number,
            tuple(
                Positions.of([0]) if own == 1 and length != 1 else positions
                for (own, length), positions in zip(lengths, place, strict=True)
            ),
        )


def computed(layer: Layer, number: int) -> bool:
    """Whether an operand depends on the input: it is no parameter."""
    return number in layer.places


def per_channel(layer: Layer, box: Box, dim: int = 1) -> Reads:
    """Further operands with one value per channel, or a single one, where they are computed."""
    for number in range(1, len(layer.operands)):
        shape = layer.operands[number].shape
        one = len(shape) == 1 and len(box) > dim and shape[0] == layer.operands[0].shape[dim]
        yield number, (box[dim],) if one else whole(shape)


def serve(positions: Positions, length: int) -> Positions:
    """Positions along a dimension that serves all of them if its length is 1."""
    return Positions.of([0]) if length == 1 else positions


def served(box: Box, shape: Shape) -> Box:
    """A product in an operand that is broadcast: aligned at the last dimension."""
    place = box[len(box) - len(shape) :]
    return tuple(serve(positions, n) for positions, n in zip(place, shape, strict=True))


def along(box: Box, dim: int, positions: Positions) -> Box:
    """A product with other positions along one dimension."""
    return (*box[:dim], positions, *box[dim + 1 :])


def blocks(channels: Positions, width: int) -> Positions:
    """Which blocks of `width` channels hold some of the given ones."""
    if width == 1:
        return channels
    return Positions.of({channel // width for channel in channels})


def index_of(layer: Layer, setting: str = "dim", dims: int | None = None) -> int:
    """The dimension that a setting names, counted from the first; of the result unless given."""
    total = len(layer.results[0].shape) if dims is None else dims
    dim: int = layer.operation.settings.get(setting, 0)
    return dim % total if total else 0


# Axes of the image


def axes_in_place(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Each dimension stays where it is."""
    same = len(sources[0]) == len(layer.shape)
    return sources[0] if same else axes_nowhere(layer, sources)


def axes_merged(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Operands are aligned at their last dimension."""
    dims = len(layer.shape)
    met: list[list[int | None]] = [[] for _ in range(dims)]
    for axes in sources:
        for place, axis in enumerate(axes, start=dims - len(axes)):
            met[place].append(axis)
    return tuple(map(axis_of, met))


def axis_of(met: Iterable[int | None]) -> int | None:
    """The axis of dimensions that lie upon each other: that of the first one that has any.

    A map may meet its own transpose: a position of the result is still one, though what it reads
    does not move with it.
    """
    return next((axis for axis in met if axis is not None), None)


def axes_kept(axes: Sequence[int | None]) -> Axes:
    """Axes of a result, each at the first dimension that has it."""
    return tuple(None if axis in axes[:d] else axis for d, axis in enumerate(axes))


def axes_nowhere(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """The map ends here."""
    return (None,) * len(layer.shape)


# Channels


def all_or_unknown(passage: Passage) -> Positions | None:
    """All channels give all; nothing is known of a part of them."""
    return passage.after.channels if passage.complete else None


def same_channels(passage: Passage) -> Positions | None:
    """Each channel stays what it is, if there are as many of them."""
    if passage.complete:
        return passage.after.channels
    before, after = passage.before, passage.after
    lengths = [before.shape[d] for d in before.dims]
    same = lengths == [after.shape[d] for d in after.dims] and before.shape[:1] == after.shape[:1]
    return passage.channels if same else None


def mixed_channels(passage: Passage) -> Positions | None:
    """Each channel reads all of them, where they lie along one dimension."""
    if passage.complete:
        return passage.after.channels
    before = passage.before
    single = sum(before.shape[d] > 1 for d in before.dims) == 1
    return passage.after.channels if single else None


# Steps


def unmoved(layer: Layer, place: int) -> Fraction:
    """One position after another."""
    return Fraction(1)


def strided(layer: Layer, place: int) -> Fraction:
    """By the stride of its windows."""
    spec = layer.operation.arithmetic
    axis = place - len(layer.shape) + (spec.dims if spec else 0)
    if spec is None or axis < 0:
        return Fraction(1)
    stride = spec.stride[axis]
    return Fraction(1, stride) if spec.transposed else Fraction(stride)


# Costs


def per_value(usual: int, of: Mapping[str, int] | None = None) -> CostRule:
    """So many operations per value of the result; some names have a number of their own."""
    table = of or {}
    return lambda layer: Cost(0, layer.numel * table.get(layer.operation.name, usual))


free = per_value(0)
