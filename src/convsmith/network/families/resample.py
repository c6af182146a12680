"""Interpolation to another resolution."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from math import floor
from struct import pack, unpack
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Positions
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import axes_in_place, same_channels

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]

# Values that a result is a weighted sum of.
_TAPS = {"nearest": 1, "trilinear": 8, "bilinear": 4, "linear": 2, "bicubic": 16}


def _cost(layer: Layer) -> Cost:
    """Per output value 2·2 products and their sum for bilinear, 4·4 for bicubic."""
    name = layer.operation.name
    taps = next((n for word, n in _TAPS.items() if word in name), None)
    if taps is None:
        return Cost(None, None, "unknown", f"no rule counts {name!r}")
    return Cost(0, layer.numel * max(0, 2 * taps - 1) if taps > 1 else 0)


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The neighbours that interpolation gives a weight: one, two or four per axis."""
    name, settings = layer.operation.name, layer.operation.settings
    dims = len(box) - 2
    factors = settings.get("scale_factors") or [None] * dims
    axes = []
    for axis in range(dims):
        n, m = layer.operands[0].shape[2 + axis], layer.shape[2 + axis]
        factor = factors[axis]
        step = _scale(n, m, factor)
        read: set[int] = set()
        for o in box[2 + axis]:
            read.update(_neighbours(name, settings, o, n, m, step, bounded))
        axes.append(Positions.of(read))
    yield 0, (*box[:2], *axes)


def _single(place: Fraction, step: Fraction) -> int:
    """The nearest position in single precision, in which most kernels of PyTorch look for it.

    Position 41 of 82 then reads 0 of 2, where exactly it would read 1.
    """
    (scale,) = unpack("f", pack("f", step))
    (product,) = unpack("f", pack("f", float(place) * scale))
    return floor(float(product))


def _bounds(layer: Layer) -> bool:
    """Whether it depends on the kernel which of two positions is the nearest."""
    if "nearest" not in layer.operation.name:
        return False
    dims, before, after = len(layer.shape) - 2, layer.operands[0].shape, layer.shape
    factors = layer.operation.settings.get("scale_factors") or [None] * dims
    half = "exact" in layer.operation.name
    return any(map(_is_rounded, before[2:], after[2:], factors, [half] * dims))


@cache
def _is_rounded(n: int, m: int, factor: float | None, half: bool) -> bool:
    step = _scale(n, m, factor)
    places = (o + Fraction(int(half), 2) for o in range(m))
    return any(floor(place * step) != _single(place, step) for place in places)


def _scale(n: int, m: int, factor: float | None) -> Fraction:
    """How far a position moves in the operand as it moves by one in the result."""
    return Fraction(n, m) if factor is None else 1 / Fraction(factor).limit_denominator(10**6)


def _neighbours(
    name: str,
    settings: Mapping[str, Any],
    o: int,
    n: int,
    m: int,
    step: Fraction,
    bounded: bool,
) -> list[int]:
    if "nearest" in name:
        place = o + (Fraction(1, 2) if "exact" in name else Fraction(0))
        taps = [floor(place * step), *([_single(place, step)] if bounded else [])]
    elif settings.get("align_corners"):
        taps = _taps(name, Fraction(o * (n - 1), m - 1) if m > 1 else Fraction(0))
    else:
        place = step * (o + Fraction(1, 2)) - Fraction(1, 2)
        if bounded and "cubic" not in name:
            place = max(place, Fraction(0))
        taps = _taps(name, place)
    return [min(max(p, 0), n - 1) for p in taps] if bounded else taps


def _taps(name: str, place: Fraction) -> list[int]:
    low = floor(place)
    if place == low:
        return [low]
    return [low - 1, low, low + 1, low + 2] if "cubic" in name else [low, low + 1]


def _step(layer: Layer, place: int) -> Fraction:
    factors = layer.operation.settings.get("scale_factors")
    if factors:
        return 1 / Fraction(factors[place - len(layer.shape)]).limit_denominator(10**6)
    return Fraction(layer.operands[0].shape[place], layer.shape[place])


FAMILIES = (
    Family(
        kind="upsample",
        about="a map interpolated to another resolution",
        names="""upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
            upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_nearest_exact1d
            _upsample_nearest_exact2d _upsample_nearest_exact3d""",
        traits=Trait.WINDOWED | Trait.TELLS | Trait.BY_NAME,
        cost=_cost,
        reads=_reads,
        bounds=_bounds,
        axes=axes_in_place,
        carry=same_channels,
        step=_step,
    ),
)
