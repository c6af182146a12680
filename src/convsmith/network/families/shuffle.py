"""Values in another order: channels between groups, channels into pixels and back, rolled maps."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    axes_in_place,
    everything,
    free,
    unmoved,
)

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _channels_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    groups, channels = layer.operation.settings["groups"], layer.shape[1]
    each = channels // groups
    # Channel c of the result is member c // groups of group c mod groups.
    place = Positions.of({(c % groups) * each + c // groups for c in box[1]})
    yield 0, (box[0], place, *box[2:])


def _channels_carry(passage: Passage) -> Positions | None:
    if passage.complete:
        return passage.after.channels
    groups = passage.layer.operation.settings["groups"]
    each = passage.after.shape[1] // groups
    return Positions.of({c % each * groups + c // each for c in passage.channels})


def _up_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    r = layer.operation.settings["upscale_factor"]
    *batch, channels, rows, columns = box
    for i in range(r):
        for j in range(r):
            place = channels.scale(r * r).shift(i * r + j)
            yield 0, (*batch, place, rows.shift(-i).divide(r), columns.shift(-j).divide(r))


def _up_carry(passage: Passage) -> Positions | None:
    r = passage.layer.operation.settings["upscale_factor"]
    return passage.channels.shift(-passage.nth).divide(r * r)


def _up_step(layer: Layer, place: int) -> Fraction:
    return Fraction(1, layer.operation.settings["upscale_factor"])


def _down_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    r = layer.operation.settings["downscale_factor"]
    *batch, channels, rows, columns = box
    for i in range(r):
        for j in range(r):
            place = channels.shift(-(i * r + j)).divide(r * r)
            yield 0, (*batch, place, rows.scale(r).shift(i), columns.scale(r).shift(j))


def _down_carry(passage: Passage) -> Positions | None:
    r = passage.layer.operation.settings["downscale_factor"]
    return passage.channels.scale(r * r).shift(passage.nth)


def _down_step(layer: Layer, place: int) -> Fraction:
    return Fraction(layer.operation.settings["downscale_factor"])


def _roll_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    settings = layer.operation.settings
    axes = list(box)
    dims = settings["dims"]
    if not dims:
        yield from everything(layer, box, result, bounded)
        return
    for i, dim in enumerate(dims):
        n = layer.shape[dim]
        by = settings["shifts"][i] if layer.operation.name == "roll" else None
        axes[dim] = Positions.of((p - by) % n if by is not None else n - 1 - p for p in axes[dim])
    yield 0, tuple(axes)


FAMILIES = (
    Family(
        kind="channel shuffle",
        about="channels interleaved between groups",
        names="channel_shuffle native_channel_shuffle",
        traits=Trait.POINTWISE,
        cost=free,
        reads=_channels_reads,
        axes=axes_in_place,
        carry=_channels_carry,
        step=unmoved,
    ),
    Family(
        kind="pixel shuffle",
        about="channels laid out as the pixels of a larger map",
        names="pixel_shuffle",
        traits=Trait.WINDOWED,
        cost=free,
        reads=_up_reads,
        axes=axes_in_place,
        carry=_up_carry,
        step=_up_step,
    ),
    Family(
        kind="pixel unshuffle",
        about="the pixels of each square taken as channels of a smaller map",
        names="pixel_unshuffle",
        traits=Trait.WINDOWED,
        cost=free,
        reads=_down_reads,
        axes=axes_in_place,
        carry=_down_carry,
        step=_down_step,
    ),
    Family(
        kind="roll",
        about="positions moved around the border, or in reverse order",
        names="flip roll",
        traits=Trait.BY_NAME,
        cost=free,
        reads=_roll_reads,
        axes=axes_in_place,
        bounds=lambda layer: not layer.operation.settings["dims"],
        carry=all_or_unknown,
        step=unmoved,
    ),
)
