"""Convolutions and transposed convolutions, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Conv, ConvTranspose, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    axes_in_place,
    blocks,
    computed,
    strided,
    unmoved,
)
from convsmith.network.shapes import per_axis, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _arithmetic(name: str, arguments: Mapping[str, Any]) -> Conv | ConvTranspose:
    weight, padding = arguments["weight"].shape, arguments.get("padding", 0)
    dims, groups = len(weight) - 2, arguments.get("groups", 1)
    common: dict[str, Any] = {
        "kernel_size": weight[2:],
        "stride": per_axis(arguments.get("stride", 1), dims),
        "padding": padding if isinstance(padding, str) else per_axis(padding, dims),
        "dilation": per_axis(arguments.get("dilation", 1), dims),
        "groups": groups,
        "bias": arguments.get("bias") is not None,
        "dims": dims,
    }
    if arguments.get("transposed", "output_padding" in arguments):
        extra = per_axis(arguments["output_padding"], dims)
        return ConvTranspose(weight[0], weight[1] * groups, output_padding=extra, **common)
    return Conv(weight[1] * groups, weight[0], **common)


def _cost(layer: Layer) -> Cost:
    spec = layer.operation.arithmetic
    assert isinstance(spec, (Conv, ConvTranspose))
    shape = layer.operands[0].shape
    batch, size = prod(shape[: -spec.dims - 1]), shape[-spec.dims :]
    return Cost(spec.macs(size, batch), spec.flops(size, batch))


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The taps of its windows, and of the channels those of the groups that are asked for."""
    spec = layer.operation.arithmetic
    assert isinstance(spec, (Conv, ConvTranspose))
    at = len(box) - spec.dims - 1
    groups = blocks(box[at], spec.out_channels // spec.groups)
    step = spec.in_channels // spec.groups
    channels = groups.scale(step).spread(step, 1)
    space = tuple(spec.reads(axis, box[at + 1 + axis]) for axis in range(spec.dims))
    yield 0, (*box[:at], channels, *space)
    for number in range(1, len(layer.operands)):  # weights and bias may be computed, too
        shape = layer.operands[number].shape
        own = number == 2 or not spec.transposed
        yield number, (box[at], *whole(shape[1:])) if own else whole(shape)


def _bounds(layer: Layer) -> bool:
    """Whether its weights are computed: which of them a position near the border uses, varies."""
    return computed(layer, 1)


def _carry(passage: Passage) -> Positions | None:
    """Every channel of a group reaches every channel of that group."""
    if passage.complete:
        return passage.after.channels
    spec = passage.layer.operation.arithmetic
    assert isinstance(spec, (Conv, ConvTranspose))
    width = spec.out_channels // spec.groups
    groups = blocks(passage.channels, spec.in_channels // spec.groups)
    return groups.scale(width).spread(width, 1)


def _channel_cost(layer: Layer) -> Cost:
    taps = layer.operands[1].shape[2]
    return Cost(layer.numel * taps, 2 * layer.numel * taps)


def _channel_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 0, (box[0], *whole(layer.operands[0].shape)[1:2], *box[2:])
    for number in range(1, len(layer.operands)):
        yield number, whole(layer.operands[number].shape)


_FORWARD = Family(
    kind="convolution",
    about="a window of weights slides over a map",
    names="channel_convolution conv1d conv2d conv3d convolution",
    traits=Trait.WINDOWED | Trait.STARTS_MAP | Trait.TELLS,
    cost=_cost,
    reads=_reads,
    bounds=_bounds,
    axes=axes_in_place,
    carry=_carry,
    step=strided,
    arithmetic=_arithmetic,
    title="convolutions",
).but(  # our own, of gates: along the channels of each pixel
    "channel_convolution",
    lacks=Trait.WINDOWED | Trait.STARTS_MAP | Trait.TELLS,
    adds=Trait.POINTWISE | Trait.MIXES_CHANNELS,
    cost=_channel_cost,
    reads=_channel_reads,
    bounds=lambda layer: True,
    carry=all_or_unknown,
    step=unmoved,
    arithmetic=None,
)
_TRANSPOSED = Family(
    kind="transposed convolution",
    about="a convolution walked backwards, which makes maps larger",
    names="conv_transpose1d conv_transpose2d conv_transpose3d",
    traits=_FORWARD.traits,
    cost=_cost,
    reads=_reads,
    bounds=_bounds,
    axes=axes_in_place,
    carry=_carry,
    step=strided,
    arithmetic=_arithmetic,
    title="transposed convolutions",
)
FAMILIES = (_FORWARD, _TRANSPOSED)
