"""The same values in another shape, or repeated, or unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    axes_in_place,
    axes_merged,
    everything,
    first,
    free,
    same_channels,
    serve,
    unmoved,
)
from convsmith.network.shapes import Axes, factor_groups, reshaped

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "TAKES_SIZES"]

TAKES_SIZES = frozenset(
    ["_unsafe_view", "as_strided", "reshape", "reshape_as", "unflatten", "view", "view_as"]
)
"""Operations whose arguments are the sizes of their result."""


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    for part in reshaped(box, layer.operands[0].shape, layer.shape):
        yield 0, part


def _axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """A dimension that stays as it is keeps its axis."""
    kept: list[int | None] = [None] * len(layer.shape)
    for ours, theirs in factor_groups(layer.operands[0].shape, layer.shape):
        if len(ours) == len(theirs) == 1:
            kept[theirs[0]] = sources[0][ours[0]]
    return tuple(kept)


def _carry(passage: Passage) -> Positions | None:
    """Channels are numbered row-major, so that they keep their numbers in any shape."""
    if passage.complete:
        return passage.after.channels
    same = passage.before.shape[:1] == passage.after.shape[:1]
    return passage.channels if same else None


def _expand_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    place = box[len(box) - len(shape) :]
    yield 0, tuple(serve(p, n) for p, n in zip(place, shape, strict=True))


def _repeat_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    place = box[len(box) - len(shape) :]
    yield (
        0,
        tuple(
            Positions.of(p % n for p in positions)
            for positions, n in zip(place, shape, strict=True)
        ),
    )


FAMILIES = (
    Family(
        kind="reshape",
        about="the same values in another shape",
        names="flatten reshape reshape_as squeeze unflatten unsqueeze view _unsafe_view view_as",
        traits=Trait.POINTWISE | Trait.VIEW,
        cost=free,
        reads=_reads,
        axes=_axes,
        carry=_carry,
        step=unmoved,
    ),
    Family(
        kind="expand",
        about="values repeated by broadcasting, or laid out several times",
        names="expand expand_as broadcast_to repeat repeat_interleave tile",
        traits=Trait.POINTWISE,
        cost=free,
        reads=_expand_reads,
        axes=axes_merged,
        carry=same_channels,
        step=unmoved,
    )
    .but("expand expand_as broadcast_to", adds=Trait.VIEW)
    .but("repeat tile", lacks=Trait.POINTWISE, reads=_repeat_reads)
    .but("repeat_interleave", reads=everything),
    Family(
        kind="identity",
        about="the same values again: dropout in evaluation, contiguous, a cast",
        names="""_to_copy alias alpha_dropout clone contiguous detach detach_ dropout copy
            feature_alpha_dropout feature_dropout lift lift_fresh lift_fresh_copy to type_as""",
        traits=Trait.POINTWISE | Trait.IN_SERIES,
        cost=free,
        reads=first,
        axes=axes_in_place,
        carry=same_channels,
        step=unmoved,
    ).but("alias detach dropout", adds=Trait.VIEW),
)
