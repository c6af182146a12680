"""Activations: one value in, one value out. `glu` alone halves its channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    along,
    axes_in_place,
    axes_merged,
    first,
    index_of,
    per_channel,
    per_value,
    same_channels,
    same_place,
    unmoved,
)

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]

# Operations per value; one for every other activation. A quantisation scales, rounds, moves and
# clamps a value, and takes it back.
_FLOPS = {
    "celu": 4, "clamp": 2, "elu": 4, "fake_quantize_per_channel_affine": 7,
    "fake_quantize_per_tensor_affine": 7, "gelu": 5, "glu": 5, "hardshrink": 2, "hardsigmoid": 4,
    "hardswish": 5, "hardtanh": 2, "leaky_relu": 2, "log_sigmoid": 4, "mish": 6, "prelu": 2,
    "relu6": 2, "rrelu": 2, "selu": 4, "sigmoid": 4, "silu": 5, "softplus": 4, "softshrink": 3,
}  # fmt: skip


def _first_and_slopes(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """A value, and the slopes of `prelu` or the scales of a quantisation, which may be computed."""
    yield 0, box
    yield from per_channel(layer, box)


def _halves(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`glu`: a value of the first half, and its gate from the second."""
    dim = index_of(layer)
    yield 0, along(box, dim, box[dim] | box[dim].shift(layer.shape[dim]))


def _halved_channels(passage: Passage) -> Positions | None:
    everything = passage.after.channels
    if passage.complete:
        return everything
    if len(passage.before.dims) != 1:
        return None
    half = len(everything)
    return passage.channels.clip(0, half) | passage.channels.clip(half, 2 * half).shift(-half)


FAMILIES = (
    Family(
        kind="activation",
        about="one value in, one value out, non-linear",
        names="""celu clamp clamp_max clamp_min elu fake_quantize_per_channel_affine
            fake_quantize_per_tensor_affine gelu glu hardshrink hardsigmoid hardswish hardtanh
            leaky_relu log_sigmoid mish prelu relu relu6 rrelu selu sigmoid silu softplus softshrink
            tanh threshold""",
        traits=Trait.POINTWISE | Trait.IN_SERIES | Trait.SAME_SHAPE,
        cost=per_value(1, _FLOPS),
        reads=first,
        axes=axes_in_place,
        carry=same_channels,
        step=unmoved,
    )
    .but("clamp clamp_max clamp_min", reads=same_place, axes=axes_merged)  # bounds may be tensors
    .but(
        "fake_quantize_per_channel_affine fake_quantize_per_tensor_affine prelu",
        reads=_first_and_slopes,
    )
    .but("glu", lacks=Trait.SAME_SHAPE, reads=_halves, carry=_halved_channels),
)
