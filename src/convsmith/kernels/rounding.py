"""The end of a kernel that writes bf16: its results are rounded as halves of words.

A vector has twice as many of these as of float32, and what a ReLU does to a bf16 is a comparison of
integers. Where few channels are summed up, the rounding of each float32 by itself takes about as
long as the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from struct import pack, unpack
from typing import Any

import halide as hl

__all__ = ["ALL", "Limits", "Rounding", "in_halves"]

_LOWER, _UPPER = 0x0000FFFF, 0xFFFF0000
_MAGNITUDE, _INFINITY, _MIDDLE = 0x7FFF, 0x7F80, 0x8000

Limits = tuple[float, float]

ALL: Limits = (-inf, inf)


class Rounding:
    """Float32 to bf16, to the nearest, of two the even one; a NaN stays one.

    The values have to come out of arithmetic, which leaves no signalling NaN: the upper half of
    such a one may be an infinity.

    Args:
        values: of each channel; or two, of the even and of the odd one of each pair.
        place: the variables they are functions of, that of the channels or pairs first.
        limits: between which the results are kept, as `in_halves` allows.
    """

    def __init__(self, values: Sequence[Any], place: Sequence[Any], limits: Limits = ALL) -> None:
        self._limits, self._pairs = limits, len(values) == 2
        self._words: list[Any] = []
        self._halves: list[Any] = []
        bits = [hl.reinterpret(hl.UInt(32), value) for value in values]
        if self._pairs:
            even, odd = bits
            upper = (odd & hl.u32(_UPPER)) | (even >> 16)
            lower = (odd << 16) | (even & hl.u32(_LOWER))
        else:
            upper, lower = bits[0] >> 16, bits[0]
        n = hl.Var("n")
        for name, word in (("upper", upper), ("lower", lower)):
            words, halves = hl.Func(name), hl.Func(f"{name}_halves")
            words[tuple(place)] = word
            at = words[(n // 2, *place[1:])]
            halves[(n, *place[1:])] = hl.extract_bits(hl.UInt(16), at, n % 2 * 16)
            self._words.append(words)
            self._halves.append(halves)

    def __getitem__(self, place: Sequence[Any]) -> Any:
        """The bits of the bf16 of a channel."""
        c, *rest = place
        at = (c if self._pairs else 2 * c, *rest)
        upper, lower = (halves[at] for halves in self._halves)
        # Above the middle between two, or in it and the lower one is odd.
        carry = (lower | (upper & hl.u16(1))) > hl.u16(_MIDDLE)
        magnitude = upper & hl.u16(_MAGNITUDE)
        low, high = self._limits
        if self._limits == ALL:
            # One more would make a zero of the NaN whose bits are all set.
            whole = carry & (magnitude != hl.u16(_MAGNITUDE))
            return hl.select(whole, upper + hl.u16(1), upper)
        # As integers negative numbers are in the wrong order, but below all others.
        value = hl.i16(hl.select(carry, upper + hl.u16(1), upper))
        if low >= 0:
            value = hl.max(value, hl.i16(_bits(low)))
        if high < inf:
            value = hl.min(value, hl.i16(_bits(high)))
        return hl.select(magnitude > hl.u16(_INFINITY), upper, hl.u16(value))

    def compute_at(self, function: Any, loop: Any, lanes: int) -> None:
        """Schedule it in a loop of one pixel of the function that reads it.

        Args:
            function: that one.
            loop: its loop, in which all channels of a vector of bf16 are computed.
            lanes: values of float32 in a vector.
        """
        for functions, width in ((self._words, lanes), (self._halves, 2 * lanes)):
            for each in functions:
                c = each.args()[0]
                each.compute_at(function, loop).align_bounds(c, width).vectorize(c, width)
                each.unroll(c)


def in_halves(limits: Limits | None) -> bool:
    """Whether values can be kept between these when they are bf16 already: both are such numbers.

    >>> in_halves((0, 6)), in_halves((0, 0.3)), in_halves((-1, 1)), in_halves(None)
    (True, False, False, False)
    """
    if limits is None:
        return False
    low, high = limits
    return (low == -inf or _holds(low)) and _holds(high)


def _holds(limit: float) -> bool:
    """Whether it is a number of bf16 that the bits of a larger one are above."""
    return limit >= 0 and unpack("<f", pack("<HH", 0, _bits(limit)))[0] == limit


def _bits(limit: float) -> int:
    """The upper half of a float32."""
    return int(unpack("<I", pack("<f", limit))[0]) >> 16
