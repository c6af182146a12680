"""The same values in another shape, or repeated, or unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    along,
    axes_in_place,
    axes_merged,
    axes_nowhere,
    everything,
    first,
    free,
    same_channels,
    same_place,
    served,
    unmoved,
)
from convsmith.network.shapes import Axes, Shape, factor_groups, reshaped

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
    """A dimension that stays keeps its axis; in parts, the slowest of them has it.

    Where dimensions are merged, the axis goes on if only the slowest of them had one.
    """
    before, after = layer.operands[0].shape, layer.shape
    kept: list[int | None] = [None] * len(after)
    for ours, theirs in factor_groups(before, after):
        axes = [sources[0][d] for d in ours]
        if axes[0] is not None and not any(a is not None for a in axes[1:]):
            kept[theirs[0]] = axes[0]
        if len(ours) == len(theirs) == 1:
            kept[theirs[0]] = axes[0]
    for d, place in _same_ones(before, after):
        kept[place] = sources[0][d]
    return tuple(kept)


def _ones_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """`squeeze` and `unsqueeze` name the dimensions of length 1 that they drop or add."""
    before, after = layer.operands[0].shape, layer.shape
    named: Any = layer.operation.settings.get("dim")
    if layer.operation.name == "unsqueeze":
        added = named % len(after)
        return (*sources[0][:added], None, *sources[0][added:])
    chosen = range(len(before)) if named is None else [named] if isinstance(named, int) else named
    dropped = {d % len(before) for d in chosen if before[d] == 1} if before else set()
    return tuple(axis for d, axis in enumerate(sources[0]) if d not in dropped)


def _same_ones(before: Shape, after: Shape) -> list[tuple[int, int]]:
    """Dimensions of length 1 that stay where they are, counted from the first or from the last."""
    front = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
                 min(len(before), len(after)))  # fmt: skip
    found = {d: d for d in range(front) if before[d] == 1}
    for i in range(1, min(len(before), len(after)) + 1):
        if before[-i] != after[-i]:
            break
        if before[-i] == 1:
            found.setdefault(len(before) - i, len(after) - i)
    places = set()
    return [(d, p) for d, p in found.items() if not (p in places or places.add(p))]  # type: ignore[func-returns-value]


def _step(layer: Layer, place: int) -> Fraction:
    """A part of a dimension moves by all that is faster; a merged one by a share of a position."""
    before, after = layer.operands[0].shape, layer.shape
    for ours, theirs in factor_groups(before, after):
        if theirs[0] == place:
            slow = prod(after[d] for d in theirs[1:])
            return Fraction(slow, prod(before[d] for d in ours[1:]))
    return Fraction(1)


def _carry(passage: Passage) -> Positions | None:
    """Channels are numbered row-major, so that they keep their numbers in any shape."""
    if passage.complete:
        return passage.after.channels
    same = passage.before.shape[:1] == passage.after.shape[:1]
    return passage.channels if same else None


def _expand_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 0, served(box, layer.operands[0].shape)


def _repeat_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    place = box[len(box) - len(shape) :]
    lengths = layer.shape[len(box) - len(shape) :]
    yield (
        0,
        tuple(
            positions if n == length else Positions.of(p % n for p in positions)
            for positions, n, length in zip(place, shape, lengths, strict=True)
        ),
    )


def _interleaved(layer: Layer) -> tuple[int, int] | None:
    """How often each position is repeated, and along which dimension, where that is known."""
    settings = layer.operation.settings
    times, dim = settings.get("repeats"), settings.get("dim")
    return (times, dim % len(layer.shape)) if isinstance(times, int) and dim is not None else None


def _interleave_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    known = _interleaved(layer)
    if known is None:
        yield from everything(layer, box, result, bounded)
        return
    times, dim = known
    yield 0, along(box, dim, Positions.of({p // times for p in box[dim]}))


def _interleave_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    return axes_in_place(layer, sources) if _interleaved(layer) else axes_nowhere(layer, sources)


def _interleave_step(layer: Layer, place: int) -> Fraction:
    known = _interleaved(layer)
    return Fraction(1, known[0]) if known and known[1] == place else Fraction(1)


def _copy_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`copy_`: what is copied, and nothing of what was there."""
    for number, part in same_place(layer, box, result, bounded):
        if number or len(layer.operands) == 1:
            yield number, part


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
        step=_step,
    ).but("squeeze unsqueeze", axes=_ones_axes),
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
    .but(
        "repeat_interleave",
        lacks=Trait.POINTWISE,
        reads=_interleave_reads,
        bounds=lambda layer: _interleaved(layer) is None,
        axes=_interleave_axes,
        carry=all_or_unknown,
        step=_interleave_step,
    ),
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
    )
    .but("alias detach dropout", adds=Trait.VIEW)
    .but("copy", reads=_copy_reads, axes=axes_merged),
)
