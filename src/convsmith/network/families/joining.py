"""Tensors put end to end, and parts taken out of one: concat, split, slice, one of several."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    along,
    axes_kept,
    axes_merged,
    axes_nowhere,
    axis_of,
    everything,
    first,
    free,
    index_of,
    same_channels,
    unmoved,
)
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


# Concat


def _joined_dim(layer: Layer) -> int:
    """The dimension along which tensors are put end to end."""
    if layer.operation.name in ("hstack", "vstack"):
        return 1 if layer.operation.name == "hstack" and len(layer.shape) > 1 else 0
    return index_of(layer)


def _fewer(layer: Layer) -> bool:
    """Whether a tensor of fewer dimensions than the result is among those put end to end."""
    return any(len(operand.shape) != len(layer.shape) for operand in layer.operands)


def _end_to_end(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim, offset = _joined_dim(layer), 0
    for number, operand in enumerate(layer.operands):
        if len(operand.shape) != len(box):
            continue  # torch lets an empty list-like tensor stand among the others
        length = operand.shape[dim]
        yield number, along(box, dim, box[dim].clip(offset, offset + length).shift(-offset))
        offset += length


def _stacked(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = index_of(layer)
    for number in range(len(layer.operands)):
        if number in box[dim]:
            yield number, (*box[:dim], *box[dim + 1 :])


def _stacks(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield from (everything if _fewer(layer) else _end_to_end)(layer, box, result, bounded)


def _stacked_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Those of the tensors, around the new dimension."""
    dim, merged = index_of(layer), [axis_of(axes) for axes in zip(*sources, strict=True)]
    return axes_kept((*merged[:dim], None, *merged[dim:]))


def _concat_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    same = len(sources[0]) == len(layer.shape)
    return axes_merged(layer, sources) if same else axes_nowhere(layer, sources)


def _concat_carry(passage: Passage) -> Positions | None:
    layer, dims = passage.layer, passage.before.dims
    total = layer.shape
    dim = _joined_dim(layer)
    if dim not in dims or any(total[d] > 1 for d in dims if d != dim):
        return None
    if any(len(other.shape) != len(total) for other in layer.operands):
        return None
    offset = sum(other.shape[dim] for other in layer.operands[: passage.operand])
    return passage.channels.shift(offset)


def _unknown_carry(passage: Passage) -> Positions | None:
    return None


# Slice


def _slice_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape, settings = layer.operands[0].shape, layer.operation.settings
    dim = index_of(layer, dims=len(shape))
    length = shape[dim]
    start = settings.get("start") or 0
    start = max(0, start + length) if start < 0 else min(start, length)
    yield 0, along(box, dim, box[dim].scale(settings.get("step", 1)).shift(start))


def _select_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    dim = index_of(layer, dims=len(shape))
    index = layer.operation.settings["index"] % shape[dim]
    yield 0, (*box[:dim], Positions.of([index]), *box[dim:])


def _cut_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    same = len(sources[0]) == len(layer.shape)
    return sources[0] if same else axes_nowhere(layer, sources)


def _select_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    dropped = layer.operation.settings["dim"] % len(sources[0])
    return tuple(axis for d, axis in enumerate(sources[0]) if d != dropped)


def _cut_carry(passage: Passage, start: int, step: int) -> Positions | None:
    """Channels of a part that begins at `start` along the dimension that is cut."""
    shape, dims = passage.before.shape, passage.before.dims
    dim = passage.layer.operation.settings.get("dim", 0) % len(shape)
    if dim not in dims:
        return passage.channels
    if any(shape[d] > 1 for d in dims if d != dim):
        return None
    return passage.channels.shift(-start).divide(step) & passage.after.channels


def _slice_carry(passage: Passage) -> Positions | None:
    if passage.complete:
        return passage.after.channels
    shape, settings = passage.before.shape, passage.layer.operation.settings
    length = shape[settings.get("dim", 0) % len(shape)]
    start = settings.get("start") or 0
    start = max(0, start + length) if start < 0 else min(start, length)
    return _cut_carry(passage, start, settings.get("step", 1))


def _dropped_carry(passage: Passage) -> Positions | None:
    """A single position of a dimension is left: its channels are known if it was not theirs."""
    if passage.complete:
        return passage.after.channels
    dim = passage.layer.operation.settings.get("dim", 0) % len(passage.before.shape)
    return None if dim in passage.before.dims else passage.channels


def _slice_step(layer: Layer, place: int) -> Fraction:
    settings = layer.operation.settings
    here = settings.get("dim", 0) % len(layer.shape) == place
    return Fraction(settings.get("step", 1) if here else 1)


# Split


def _split_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = index_of(layer, dims=len(layer.operands[0].shape))
    offset = sum(part.shape[dim] for part in layer.results[:result])
    yield 0, along(box, dim, box[dim].shift(offset))


def _unbind_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = index_of(layer, dims=len(layer.operands[0].shape))
    yield 0, (*box[:dim], Positions.of([result]), *box[dim:])


def _split_carry(passage: Passage) -> Positions | None:
    if passage.complete:
        return passage.after.channels
    layer = passage.layer
    dim = layer.operation.settings.get("dim", 0) % len(passage.before.shape)
    return _cut_carry(passage, sum(part.shape[dim] for part in layer.results[: passage.result]), 1)


FAMILIES = (
    Family(
        kind="concat",
        about="tensors put end to end, or stacked",
        names="cat concat concatenate stack hstack vstack",
        traits=Trait.POINTWISE | Trait.MERGES | Trait.TELLS,
        cost=free,
        reads=_end_to_end,
        axes=_concat_axes,
        carry=_concat_carry,
        step=unmoved,
    )
    .but("stack", reads=_stacked, axes=_stacked_axes, carry=_unknown_carry)
    .but("hstack vstack", reads=_stacks, bounds=_fewer),
    Family(
        kind="slice",
        about="a range of positions along one dimension, or a single one",
        names="narrow select slice",
        traits=Trait.POINTWISE
        | Trait.WINDOWED
        | Trait.ANY_AXIS
        | Trait.ONE_AXIS
        | Trait.ENDS_AXIS
        | Trait.STARTS_MAP
        | Trait.TELLS
        | Trait.VIEW,
        cost=free,
        reads=_slice_reads,
        axes=_cut_axes,
        carry=_slice_carry,
        step=_slice_step,
    ).but(
        "select",
        lacks=Trait.ONE_AXIS,
        reads=_select_reads,
        axes=_select_axes,
        carry=_dropped_carry,
        step=unmoved,
    ),
    Family(
        kind="split",
        about="a tensor in several parts along one dimension",
        names="chunk split split_with_sizes tensor_split unbind",
        traits=Trait.POINTWISE | Trait.ENDS_AXIS | Trait.VIEW,
        cost=free,
        reads=_split_reads,
        axes=_cut_axes,
        carry=_split_carry,
        step=unmoved,
    ).but("unbind", reads=_unbind_reads, axes=_select_axes, carry=_dropped_carry),
    Family(
        kind="select",
        about="one of the results of a layer that has several",
        names="getitem",
        traits=Trait.POINTWISE | Trait.VIEW | Trait.BY_NAME,
        cost=free,
        reads=first,
        axes=_cut_axes,
        carry=same_channels,
        step=unmoved,
    ),
)
