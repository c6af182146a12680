"""The channels of each pixel as shares of their sum."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.across import by_halves, by_pixels, fold, vectors_of, within
from convsmith.kernels.activation import activate
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result

__all__ = ["ChannelSoftmax"]


@dataclass(frozen=True)
class ChannelSoftmax(Kernel):
    """Exponentials of the channels of each pixel over their sum.

    Arguments: x (buffer, ring, row), channels, y. The largest channel is subtracted first, so that
    no exponential is infinite. A NaN needs no care: its exponential is NaN, and so is the sum.

    Attributes:
        pixels: computed at once.
        lanes: of a vector: of few channels those of half a vector may be enough.
        logarithm: whether the result is the logarithm of that.
        vectors: that the channels fill; exponentials are then kept for the quotient. 0 for any
            number, where they are computed twice.
    """

    family: ClassVar[str] = "channelsoftmax"

    pixels: int
    lanes: int
    logarithm: bool = False
    vectors: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane, v = (hl.Var(name) for name in ("c", "x", "y", "lane", "v"))
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        most, power, total = hl.Func("most"), hl.Func("power"), hl.Func("total")
        last, out, block = hl.Func("last"), hl.Func(self.name), hl.Var("block")
        count = self.vectors or vectors_of(channels, self.lanes)[0]
        vectors, unroll = (count, self.lanes), 0 < self.vectors <= _UNROLLED

        def inside(channel: Any, value: Any, other: float) -> Any:
            return within(channel, channels, value, hl.f32(other))

        least = float("-inf")
        lanes = fold(
            "lanes", out, hl.max, hl.f32(least), vectors,
            lambda channel: inside(channel, source[channel, x, y], least), unroll,
        )  # fmt: skip
        most[x, y] = by_halves(lanes, out, self.lanes, hl.max)
        power[lane, v, x, y] = _power(source[v * self.lanes + lane, x, y] - most[x, y])

        def term(channel: Any) -> Any:
            own = power[channel % self.lanes, channel // self.lanes, x, y]
            return inside(channel, own, 0)

        sums = fold("sums", out, lambda a, b: a + b, hl.f32(0), vectors, term, unroll)
        total[x, y] = by_halves(sums, out, self.lanes, lambda a, b: a + b)
        if self.logarithm:
            last[x, y] = activate("log", total[x, y])
            # In this order: of large values the logarithm would be lost beside the largest.
            share = hl.strict_float(source[c, x, y] - most[x, y] - last[x, y])
        else:
            last[x, y] = hl.f32(1) / total[x, y]
            # What is beyond the last vector is padding, which nothing reads.
            place = hl.min(c // self.lanes, count - 1)
            share = power[c % self.lanes, place, x, y] * last[x, y]
        out[c, x, y] = self.stored(share)
        pixel = by_pixels(out, self.pixels)
        out.split(c, block, lane, self.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        out.reorder(lane, pixel, block, x, y)
        for one in (most, total):
            one.compute_at(out, x).unroll(x)
        last.compute_at(out, x).vectorize(x)  # one division or logarithm for all pixels
        if self.vectors and not self.logarithm:
            power.compute_at(out, x).store_in(hl.MemoryType.Stack)
            power.bound_extent(v, self.vectors).reorder(lane, x, v).vectorize(lane, self.lanes)
            power.unroll(x)
            if unroll:
                power.unroll(v)
        return result(out), [*source.arguments, channels]


_UNROLLED = 8
"""Vectors of channels of which no loop is made."""

_SMALLEST = -87.0
"""Whose exponential is about the smallest number that has all its bits."""

_WHOLE = 1.5 * 2**23
"""A number that has no bits for fractions: added to one, it rounds it to a whole number."""

_LOG_2 = 355 / 512
_EXPONENTIAL = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
    5.0000001201e-1,
)  # fmt: skip
"""Cephes' polynomial: (exp(r) - 1 - r) / r² for r of at most half the logarithm of 2."""


def _power(value: Any) -> Any:
    """The exponential of what is not above 0, which is 0 where that is next to nothing.

    Of NaN it is NaN. With 2 to the power of a whole number it is that of a small rest.
    """
    shifted = hl.strict_float(value * hl.f32(1 / log(2)) + hl.f32(_WHOLE))
    whole = hl.strict_float(shifted - hl.f32(_WHOLE))
    rest = value - whole * hl.f32(_LOG_2) - whole * hl.f32(log(2) - _LOG_2)
    series = hl.f32(_EXPONENTIAL[0])
    for factor in _EXPONENTIAL[1:]:
        series = series * rest + hl.f32(factor)
    series = series * (rest * rest) + rest + hl.f32(1)
    # The whole number stands in the lowest bits of the sum, and belongs into those of an exponent.
    bits = (hl.reinterpret(hl.UInt(32), shifted) << 23) + hl.u32(127 << 23)
    found = series * hl.reinterpret(hl.Float(32), bits)
    return hl.strict_float(hl.select(value < hl.f32(_SMALLEST), hl.f32(0), found))
