"""Positions added around a map: constants, reflections, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.arithmetic.window import source_index
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import axes_in_place, free, unmoved

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "mode_of", "sides_of"]


def sides_of(layer: Layer) -> Sequence[int]:
    """How many positions a layer adds before and after each axis, the last axis first."""
    settings = layer.operation.settings
    sides: Sequence[int] = settings.get("pad", settings.get("padding"))
    return sides


def mode_of(layer: Layer) -> str:
    """What it adds: `constant`, `reflect`, `replicate` or `circular`."""
    name, mode = layer.operation.name, layer.operation.settings.get("mode")
    if "reflection" in name or "replication" in name:
        return "reflect" if "reflection" in name else "replicate"
    return str(mode or "constant")


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    sides, mode = sides_of(layer), mode_of(layer)
    shape, axes = layer.operands[0].shape, list(box)
    for i in range(len(sides) // 2):
        dim = len(box) - 1 - i
        moved = axes[dim].shift(-sides[2 * i])
        if bounded and mode != "constant":
            sources = (source_index(p, shape[dim], mode) for p in moved)
            moved = Positions.of(p for p in sources if p is not None)
        axes[dim] = moved
    yield 0, tuple(axes)


def _carry(passage: Passage) -> Positions | None:
    sides, dims = sides_of(passage.layer), len(passage.after.shape)
    free_dims = passage.before.dims
    moved = {dims - 1 - i: sides[2 * i] for i in range(len(sides) // 2) if any(sides[2 * i :][:2])}
    if moved.get(0) or (len(free_dims) > 1 and any(d in moved for d in free_dims)):
        return None
    if not free_dims:
        return passage.channels
    dim = free_dims[0]
    return passage.channels.shift(moved.get(dim, 0)).clip(0, passage.layer.shape[dim])


FAMILIES = (
    Family(
        kind="pad",
        about="positions added around a map, or with a negative number cut off",
        names="""constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d
            replication_pad1d replication_pad2d replication_pad3d""",
        traits=Trait.WINDOWED | Trait.ANY_AXIS | Trait.IN_SERIES | Trait.STARTS_MAP | Trait.TELLS,
        cost=free,
        reads=_reads,
        axes=axes_in_place,
        carry=_carry,
        step=unmoved,
    ),
)
