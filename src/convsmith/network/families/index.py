"""Values picked or placed by what is computed: gather, sort, embedding, grid sample."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from convsmith.arithmetic import Box, Positions
from convsmith.network.cost import Cost
from convsmith.network.families.family import NO_TRAIT, Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    along,
    axes_nowhere,
    everything,
    free,
    index_of,
    unmoved,
)
from convsmith.network.shapes import Axes, Shape, flattened, whole

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "Pick"]


class Pick(NamedTuple):
    """Positions that are picked along one dimension by an index whose values are known."""

    shape: Shape
    values: tuple[int, ...]


def _pick(layer: Layer) -> tuple[int, Pick] | None:
    """The only dimension that an index picks along, and what; None where that is not known."""
    picks = layer.operation.settings.get("picks") or ()
    found = [(dim, pick) for dim, pick in enumerate(picks) if pick is not None]
    return found[0] if len(found) == 1 else None


def _pick_step(pick: Pick) -> int | None:
    """By how much an even pick moves; None for another one."""
    values = pick.values
    if len(pick.shape) != 1 or min(values, default=-1) < 0 or len(values) < 2:
        return None
    step = values[1] - values[0]
    return step if step > 0 and values == tuple(range(values[0], values[-1] + 1, step)) else None


def _picked_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    known = _pick(layer)
    if known is None:
        yield from everything(layer, box, result, bounded)
        return
    dim, pick = known
    end, length = dim + len(pick.shape), layer.operands[0].shape[dim]
    step = _pick_step(pick)
    if step is not None and not bounded:
        yield 0, along(box, dim, box[dim].scale(step).shift(pick.values[0]))
        return
    numbers = flattened(box[dim:end], pick.shape) if pick.shape else Positions.of([0])
    read = Positions.of({pick.values[n] % length for n in numbers if 0 <= n < len(pick.values)})
    yield 0, (*box[:dim], read, *box[end:])


def _picked_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    known = _pick(layer)
    if known is None or 0 not in layer.places:
        return axes_nowhere(layer, sources)
    dim, pick = known
    own = sources[0][dim] if _pick_step(pick) is not None else None
    middle = (own,) if len(pick.shape) == 1 else (None,) * len(pick.shape)
    return (*sources[0][:dim], *middle, *sources[0][dim + 1 :])


def _picked_step(layer: Layer, place: int) -> Fraction:
    known = _pick(layer)
    step = _pick_step(known[1]) if known and known[0] == place else None
    return Fraction(step or 1)


def _unfold(layer: Layer) -> tuple[int, int]:
    """The dimension that windows slide along, and their step."""
    settings = layer.operation.settings
    return index_of(layer, "dimension", len(layer.operands[0].shape)), settings["step"]


def _unfold_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Windows lie along a dimension of their own, the last one."""
    if not layer.operands[0].shape:
        yield 0, ()
        return
    dim, step = _unfold(layer)
    first, read = box[dim].scale(step), Positions()
    for place in box[-1]:
        read |= first.shift(place)
    yield 0, along(box[:-1], dim, read)


def _unfold_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    return (*sources[0], None)


def _unfold_step(layer: Layer, place: int) -> Fraction:
    dim, step = _unfold(layer)
    return Fraction(step if place == dim else 1)


def _embedding_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Any row of the table, and the index of each result."""
    yield 0, whole(layer.operands[0].shape)
    if len(layer.operands) > 1:
        yield 1, box[:-1]


def _sample_cost(layer: Layer) -> Cost:
    """Each value is a weighted sum of its neighbours; where they lie is not counted.

    The neighbours are 2 per axis, 4 for the bicubic mode, and one for the nearest.
    """
    each = {0: 2, 1: 1, 2: 4}[layer.operation.settings["interpolation_mode"]]
    taps: int = each ** (len(layer.shape) - 2)
    return Cost(0, layer.numel * (2 * taps - 1) if taps > 1 else 0)


def _sample_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Any position of the map, in the same channels, and the place that the grid names."""
    image, grid = (operand.shape for operand in layer.operands)
    yield 0, (*box[:2], *whole(image[2:]))
    yield 1, (box[0], *box[2:], *whole(grid[-1:]))


def _each_cost(layer: Layer) -> Cost:
    """One operation per value: `col2im` adds those of windows, `nonzero` compares them."""
    return Cost(0, layer.operands[0].numel)


def _sort_cost(layer: Layer) -> Cost:
    """No multiply-adds; comparisons are those of a merge sort of each row, or fewer."""
    name, operand = layer.operation.name, layer.operands[0]
    dim = _sorted_dim(layer)
    length = operand.numel if dim is None else operand.shape[dim] if operand.shape else 1
    return _at_most(operand.numel * _halvings(length), name)


def _search_cost(layer: Layer) -> Cost:
    """One comparison each time that a sorted row is halved."""
    row = layer.operands[0 if layer.operation.name == "searchsorted" else -1]
    return _at_most(layer.numel * _halvings(row.shape[-1] + 1), layer.operation.name)


def _sorted_dim(layer: Layer) -> int | None:
    """The dimension that is sorted; None for all values of the tensor."""
    name, settings = layer.operation.name, layer.operation.settings
    dim: int | None = 0 if name == "msort" else settings.get("dim")
    return dim


def _halvings(length: int) -> int:
    return max(0, length - 1).bit_length()


def _at_most(comparisons: int, name: str) -> Cost:
    if not comparisons:
        return Cost(0, 0)
    return Cost(0, comparisons, "upper bound", f"comparisons of {name!r} depend on the values")


FAMILIES = (
    Family(
        kind="index",
        about="values picked or placed by computed indices",
        names="""_unique2 argsort bucketize col2im fft_fftshift fft_ifftshift gather grid_sampler
            grid_sampler_2d grid_sampler_3d im2col index index_put index_select is_nonzero item
            kthvalue masked_select max_unpool2d max_unpool3d median meshgrid msort nonzero one_hot
            scatter searchsorted sort take topk tril triu unfold unique_consecutive unique_dim""",
        traits=NO_TRAIT,
        cost=free,
        reads=None,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    )
    .but("grid_sampler grid_sampler_2d grid_sampler_3d", cost=_sample_cost, reads=_sample_reads)
    .but(
        "_unique2 argsort kthvalue median msort sort topk unique_consecutive unique_dim",
        cost=_sort_cost,
    )
    .but("bucketize searchsorted", cost=_search_cost)
    .but("col2im", cost=_each_cost)
    .but("is_nonzero item", reads=everything)
    .but("nonzero", cost=_each_cost)
    .but("unfold", reads=_unfold_reads, axes=_unfold_axes, step=_unfold_step)
    .but(
        "index index_select",
        adds=Trait.POINTWISE,
        reads=_picked_reads,
        bounds=lambda layer: _pick(layer) is None,
        axes=_picked_axes,
        step=_picked_step,
    ),
    Family(
        kind="embedding",
        about="a row of a table for each index",
        names="embedding",
        traits=NO_TRAIT,
        cost=free,
        reads=_embedding_reads,
        axes=axes_nowhere,
        carry=all_or_unknown,
        step=unmoved,
    ),
)
