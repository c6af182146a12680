"""Kernels that divide values by statistics of the image itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.across import channel_sum
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result, vector

__all__ = ["RESPONSE_EXPONENTS", "ChannelNorm", "InverseDeviation", "ResponseNorm"]


@dataclass(frozen=True)
class ChannelNorm(Kernel):
    """The channels of each pixel by their own mean and variance, then scaled and shifted.

    Arguments: x (buffer, ring, row), channels, eps, weight, bias, y. The variance is that of the
    values less their mean, in a second pass: a difference of two sums would cancel.

    Attributes:
        pixels: how many are computed at once, for their sums to hide each other's latency.
        centred: whether the mean is subtracted; else it is 0, as in a root mean square.
    """

    family: ClassVar[str] = "channelnorm"

    pixels: int
    centred: bool = True

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, pixel = (hl.Var(name) for name in ("c", "x", "y", "pixel"))
        source = Rows("x", self.numbers.source)
        weight, bias = vector("weight"), vector("bias")
        (channels,) = ints("channels")
        eps = hl.Param(hl.Float(32), "eps")
        each = hl.f32(1) / hl.f32(channels)
        out = hl.Func(self.name)

        def mean(name: str, value: Callable[[Any], Any]) -> Any:
            """Of a value of each channel."""
            return channel_sum(name, out, channels, isa.lanes, value) * each

        middle = hl.f32(0)
        if self.centred:
            middle = mean("middle", lambda channel: source[channel, x, y])

        def square(channel: Any) -> Any:
            apart = source[channel, x, y] - middle
            return apart * apart

        spread = hl.Func("spread")
        spread[x, y] = hl.f32(1) / hl.sqrt(mean("variance", square) + eps)
        spread.compute_at(out, x).unroll(x)
        value = (source[c, x, y] - middle) * spread[x, y] * weight[c] + bias[c]
        out[c, x, y] = self.stored(value)
        out.split(x, x, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        out.reorder(c, pixel, x, y).vectorize(c, isa.lanes, hl.TailStrategy.RoundUp).unroll(pixel)
        return result(out), [*source.arguments, channels, eps, weight, bias]


RESPONSE_EXPONENTS: dict[float, Callable[[Any], Any]] = {
    0.5: lambda value: hl.sqrt(value),
    0.75: lambda value: hl.sqrt(value) * hl.sqrt(hl.sqrt(value)),
    1.0: lambda value: value,
}
"""The exponents that kernels have, and the power of a value, without a logarithm."""


@dataclass(frozen=True)
class ResponseNorm(Kernel):
    """Each channel over a power of a constant and the squares of the channels beside it.

    Arguments: x (buffer, ring, row), channels, factor of the sum of squares, constant, y.

    Attributes:
        size: how many channels are summed; of an even number one more lies before.
        exponent: a key of `RESPONSE_EXPONENTS`.
    """

    family: ClassVar[str] = "responsenorm"

    size: int
    exponent: str

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        factor, constant = (hl.Param(hl.Float(32), name) for name in ("factor", "constant"))
        square, total, out = hl.Func("square"), hl.Func("total"), hl.Func(self.name)
        value = source[hl.clamp(c, 0, channels - 1), x, y]
        inside = (c >= 0) & (c < channels)
        square[c, x, y] = hl.select(inside, value * value, hl.f32(0))
        beside = hl.RDom([(0, self.size)], "beside")
        total[c, x, y] += square[c + beside.x - self.size // 2, x, y]
        power = RESPONSE_EXPONENTS[float(self.exponent)](constant + factor * total[c, x, y])
        out[c, x, y] = self.stored(hl.strict_float(source[c, x, y] / power))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        # Of a block and its neighbours, once for all sums that they are a part of.
        square.compute_at(out, block).store_in(hl.MemoryType.Stack)
        square.vectorize(c, isa.lanes, hl.TailStrategy.RoundUp)
        total.compute_at(out, block).vectorize(c, isa.lanes)
        total.update().vectorize(c, isa.lanes).unroll(beside.x)
        return result(out), [*source.arguments, channels, factor, constant]


@dataclass(frozen=True)
class InverseDeviation(Kernel):
    """A number for each channel over the root of a variance.

    Arguments: variance (buffer, ring, row), eps, weight, y.
    """

    family: ClassVar[str] = "inversedeviation"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        variance, weight = Rows("variance"), vector("weight")
        eps = hl.Param(hl.Float(32), "eps")
        out = hl.Func(self.name)
        out[c, x, y] = weight[c] / hl.sqrt(variance[c, x, y] + eps)
        out.vectorize(c, isa.lanes, hl.TailStrategy.RoundUp)
        return result(out), [*variance.arguments, eps, weight]
