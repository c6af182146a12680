"""Normalisations and softmax: values divided by statistics, stored or of the sample itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.reduction import (
    reduced_axes,
    reduced_channels,
    reduced_reads,
)
from convsmith.network.families.rules import (
    all_or_unknown,
    along,
    axes_in_place,
    blocks,
    everything,
    index_of,
    mixed_channels,
    per_channel,
    per_value,
    same_channels,
    unmoved,
)
from convsmith.network.shapes import whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "SOFTMAX_FLOPS"]

SOFTMAX_FLOPS = 5
"""Per value: the largest, a subtraction, exp, the sum, a division."""


def _batch_norm_cost(layer: Layer) -> Cost:
    """One multiplication and one addition per value; in training mode the statistics as well."""
    return Cost(0, layer.numel * (7 if layer.operation.settings.get("training") else 2))


def _batch_norm_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The same place; without stored statistics all that they are taken over."""
    yield from per_channel(layer, box)
    if not layer.operation.settings.get("training"):
        yield 0, box
        return
    batch, _, *space = whole(layer.operands[0].shape)
    yield 0, (batch, box[1], *space)


def _cost(layer: Layer) -> Cost:
    """Centre (2 with the mean), square and add (2), scale (1), and the affine part (2)."""
    affine = min(2, len(layer.operands) - 1)  # a weight multiplies, a bias adds
    each = 4 if "rms" in layer.operation.name else 5
    return Cost(0, layer.numel * (each + affine))


def _length_cost(layer: Layer) -> Cost:
    """Squares and their sum, and a root or a product per result."""
    return Cost(0, 2 * layer.operands[0].numel + layer.numel)


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Everything that the statistics are taken over."""
    shape, name = layer.operands[0].shape, layer.operation.name
    full = whole(shape)
    if name in (
        "channel_norm",
        "channel_response_norm",
        "channel_rms_norm",
    ):  # our own, of what stands between two permutations
        yield 0, (box[0], full[1], *box[2:])
        for number in range(1, len(layer.operands)):
            yield number, (box[1],)
    elif "layer_norm" in name or "rms" in name:
        normalised = len(layer.operation.settings["normalized_shape"])
        yield 0, (*box[:-normalised], *full[-normalised:])
        for number in range(1, len(layer.operands)):
            yield number, box[-normalised:]
    elif "group_norm" in name:
        groups = layer.operation.settings[
            "num_groups" if "num_groups" in layer.operation.settings else "group"
        ]
        width = shape[1] // groups
        channels = blocks(box[1], width).scale(width).spread(width, 1)
        yield 0, (box[0], channels, *full[2:])
        yield from per_channel(layer, box)
    elif "instance_norm" in name:
        own = layer.operation.settings.get("use_input_stats", True)
        yield 0, (*box[:2], *full[2:]) if own else box
        yield from per_channel(layer, box)
    else:
        yield from everything(layer, box, result, bounded)


def _carry(passage: Passage) -> Positions | None:
    return same_channels(passage) if passage.in_place else mixed_channels(passage)


def _softmax_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = index_of(layer)
    yield 0, along(box, dim, Positions.range(0, layer.shape[dim]))


def _softmax_carry(passage: Passage) -> Positions | None:
    return all_or_unknown(passage) if passage.in_place else mixed_channels(passage)


FAMILIES = (
    Family(
        kind="batch norm",
        about="scaled and shifted per channel, by statistics that were stored or are taken now",
        names="batch_norm",
        # It joins an axis only where the statistics are taken now.
        traits=Trait.POINTWISE | Trait.JOINS_AXIS | Trait.STATISTICS | Trait.IN_SERIES,
        cost=_batch_norm_cost,
        reads=_batch_norm_reads,
        axes=axes_in_place,
        carry=same_channels,
        step=unmoved,
    ),
    Family(
        kind="norm",
        about="statistics of the sample itself: layer, group, instance, RMS",
        names="""_weight_norm channel_norm channel_response_norm channel_rms_norm group_norm
            instance_norm layer_norm linalg_vector_norm native_group_norm native_layer_norm norm
            rms_norm""",
        traits=Trait.POINTWISE
        | Trait.JOINS_AXIS
        | Trait.STATISTICS
        | Trait.MIXES_CHANNELS
        | Trait.IN_SERIES
        | Trait.BY_NAME,
        cost=_cost,
        reads=_reads,
        axes=axes_in_place,
        carry=_carry,
        step=unmoved,
    )
    .but("_weight_norm", cost=_length_cost, bounds=lambda layer: True)
    .but(
        "linalg_vector_norm norm",
        lacks=Trait.STATISTICS | Trait.MIXES_CHANNELS,
        cost=_length_cost,
        reads=reduced_reads,
        axes=reduced_axes,
        carry=reduced_channels,
    ),
    Family(
        kind="softmax",
        about="values along one dimension as shares of their sum",
        names="_log_softmax _softmax log_softmax softmax",
        traits=Trait.POINTWISE | Trait.JOINS_AXIS | Trait.MIXES_CHANNELS,
        cost=per_value(SOFTMAX_FLOPS),
        reads=_softmax_reads,
        axes=axes_in_place,
        carry=_softmax_carry,
        step=unmoved,
    ),
)
