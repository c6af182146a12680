"""What a tensor holds after it, or another view of its memory, was written into."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import axis_of, everything, free, same_channels
from convsmith.network.overlap import Overlap
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "NEW", "OLD"]

OLD, NEW = 0, 1
"""The operands of a write: the tensor before it, and what was written."""


def _overlap(layer: Layer) -> Overlap | None:
    found: Overlap | None = layer.operation.settings.get("overlap")
    return found


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The written value where there is one, else the old one.

    On a map without borders both are read everywhere, the written one as far away as it lies.
    """
    overlap = _overlap(layer)
    if overlap is None:
        yield from everything(layer, box, result, bounded)
        return
    if bounded:
        for part in overlap.old(box):
            yield OLD, part
        for part in overlap.new(box):
            yield NEW, part
        return
    yield OLD, box
    inside = tuple(
        p.clip(0, n) if d not in overlap.dims else p
        for d, (p, n) in enumerate(zip(box, layer.shape, strict=True))
    )
    for part in overlap.read.out(inside):
        used = {d for way in overlap.written.ways if way for d in way.dims}
        placed = tuple(
            p if d in used else Positions.of([overlap.written.starts[d]])
            for d, p in enumerate(part)
        )
        hit = overlap.written.back(placed, bounded=False)
        if hit is not None:
            yield NEW, hit


def _axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """Those of the tensor and of what was written, where they do not differ."""
    known = dict(zip(layer.places, sources, strict=True))
    axes = list(known.get(OLD, (None,) * len(layer.shape)))
    overlap = _overlap(layer)
    if NEW in known and overlap is not None:
        for d, (other, _) in overlap.dims.items():
            axes[d] = axis_of([axes[d], known[NEW][other]])
    return tuple(axes)


def _carry(passage: Passage) -> Positions | None:
    if passage.complete:
        return passage.after.channels
    return same_channels(passage) if passage.operand == OLD else None


def _step(layer: Layer, place: int) -> Fraction:
    overlap = _overlap(layer)
    if OLD in layer.places or overlap is None or place not in overlap.dims:
        return Fraction(1)
    return Fraction(1, overlap.dims[place][1])


FAMILIES = (
    Family(
        kind="write",
        about="what a tensor holds after it, or a view of it, was written into",
        names="",
        traits=Trait.MERGES | Trait.TELLS | Trait.VIEW | Trait.BY_NAME,
        cost=free,
        reads=_reads,
        bounds=lambda layer: _overlap(layer) is None,
        axes=_axes,
        carry=_carry,
        step=_step,
    ),
)
