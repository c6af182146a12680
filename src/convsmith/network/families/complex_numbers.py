"""Complex numbers: their parts, and what arithmetic with them costs in real operations.

Numbers that are read as others of fewer or more bytes (`view(dtype)`) are taken apart likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convsmith.arithmetic import Box, Positions
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    all_or_unknown,
    axes_in_place,
    blocks,
    per_value,
    same_channels,
    same_place,
    unmoved,
)
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "complex_cost"]

_WHY = "a complex product is at most four real ones and two additions"

# Real operations of one complex one. Both operands are taken for complex.
_FLOPS = {
    "abs": 4, "add": 2, "addcmul": 14, "addcdiv": 19, "div": 11, "eq": 3, "lerp": 10, "mean": 2,
    "mul": 6, "ne": 3, "neg": 2, "reciprocal": 6, "rsub": 2, "sgn": 6, "square": 6, "sub": 2,
    "sum": 2, "true_divide": 11,
}  # fmt: skip


def complex_cost(layer: Layer, real: Cost) -> Cost:
    """The real operations of a layer with complex numbers.

    Args:
        layer: one that takes or gives complex numbers.
        real: what it would cost with real ones.
    """
    name = layer.operation.name
    if real.macs is None or real.flops is None or not (real.macs or real.flops):
        return real
    if real.macs:
        # What is not a multiply-add is an addition or a product with a number.
        rest = real.flops - 2 * real.macs
        return Cost(4 * real.macs, 8 * real.macs + 6 * rest, "upper bound", _WHY)
    if name not in _FLOPS:
        return Cost(0, None, "unknown", f"no rule counts {name!r} of complex numbers")
    return Cost(0, _FLOPS[name] * real.flops, "upper bound", _WHY)


def _pair_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`view_as_complex`: both parts."""
    yield 0, (*box, Positions.range(0, 2))


def _parts_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`view_as_real`: the number that a part is of."""
    yield 0, box[:-1]


def _bytes_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """`view(dtype)`: the values along the last dimension that share bytes with those asked for."""
    if not box:
        yield 0, box
        return
    before, after = layer.operands[0].shape[-1], layer.shape[-1]
    if before < after:
        yield 0, (*box[:-1], blocks(box[-1], after // before))
    else:
        each = before // max(1, after)
        yield 0, (*box[:-1], box[-1].scale(each).spread(each, 1))


def _bytes_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    same = layer.operands[0].shape == layer.shape
    return sources[0] if same else (*sources[0][:-1], None)


def _paired_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    return sources[0][:-1]


def _parted_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    return (*sources[0], None)


FAMILIES = (
    Family(
        kind="complex parts",
        about="real and imaginary parts, or bytes, put together or taken apart",
        names="""_conj _conj_physical angle complex conj conj_physical imag polar real resolve_conj
            resolve_neg view.dtype view_as_complex view_as_real""",
        traits=Trait.POINTWISE | Trait.COMPLEX,
        cost=per_value(0, {"_conj_physical": 1, "angle": 2, "conj_physical": 1, "polar": 4}),
        reads=same_place,
        axes=axes_in_place,
        carry=same_channels,
        step=unmoved,
    )
    .but("_conj conj imag real resolve_conj resolve_neg", adds=Trait.VIEW)
    .but(
        "view",
        adds=Trait.VIEW,
        lacks=Trait.POINTWISE | Trait.COMPLEX,
        reads=_bytes_reads,
        axes=_bytes_axes,
        carry=all_or_unknown,
    )
    .but(
        "view_as_complex",
        adds=Trait.VIEW,
        reads=_pair_reads,
        axes=_paired_axes,
        carry=all_or_unknown,
    )
    .but(
        "view_as_real", adds=Trait.VIEW, reads=_parts_reads, axes=_parted_axes, carry=all_or_unknown
    ),
)
