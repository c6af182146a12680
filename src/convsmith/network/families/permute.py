"""Dimensions in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions
from convsmith.network.channels import Passage
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import free, unmoved
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "permutation"]


def permutation(layer: Layer) -> list[int]:
    """For each dimension of the result of a permutation, which one of the operand it is."""
    dims, settings = len(layer.shape), layer.operation.settings
    order = list(range(dims))
    if "dims" in settings:
        return [d % dims for d in settings["dims"]]
    if "destination" in settings:
        sources = [d % dims for d in _list(settings["source"])]
        targets = [d % dims for d in _list(settings["destination"])]
        rest = iter(d for d in order if d not in sources)
        where = dict(zip(targets, sources, strict=True))
        return [where[d] if d in where else next(rest) for d in order]
    if dims < 2:
        return order
    a, b = (
        settings.get("dim0", settings.get("axis0", 0)),
        settings.get("dim1", settings.get("axis1", 1)),
    )
    order[a], order[b] = order[b], order[a]
    return order


def _list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    read = list(box)
    for place, source in enumerate(permutation(layer)):
        read[source] = box[place]
    yield 0, tuple(read)


def _axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    return tuple(sources[0][d] for d in permutation(layer))


def _carry(passage: Passage) -> Positions | None:
    if passage.complete:
        return passage.after.channels
    order, shape, dims = permutation(passage.layer), passage.before.shape, passage.before.dims
    if order[0] != 0:
        return None
    moved_dims = [order[d] for d in passage.after.dims]
    if moved_dims == dims:
        return passage.channels
    numbers = []
    for channel in passage.channels:
        place = {}
        for d in reversed(dims):
            channel, place[d] = divmod(channel, shape[d])
        moved = 0
        for d in moved_dims:
            moved = moved * shape[d] + place[d]
        numbers.append(moved)
    return Positions.of(numbers)


FAMILIES = (
    Family(
        kind="permute",
        about="dimensions in another order",
        names="movedim permute swapaxes t transpose",
        traits=Trait.POINTWISE | Trait.VIEW,
        cost=free,
        reads=_reads,
        axes=_axes,
        carry=_carry,
        step=unmoved,
    ),
)
