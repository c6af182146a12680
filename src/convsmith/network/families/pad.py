"""Positions added around a map: constants, reflections, repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.arithmetic.window import source_index
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import axes_in_place, free, unmoved

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    settings, name = layer.operation.settings, layer.operation.name
    sides = settings.get("pad", settings.get("padding"))
    mode = settings.get("mode", "reflect" if "reflection" in name else "constant")
    mode = "replicate" if "replication" in name else mode
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
    settings, dims = passage.layer.operation.settings, len(passage.after.shape)
    free_dims = passage.before.dims
    sides = settings.get("pad", settings.get("padding"))
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
