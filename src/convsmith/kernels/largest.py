"""Largest values of rows; largest values and sums of the channels of pixels.

A NaN among them is the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, is_nan, result
from convsmith.kernels.rows import larger

__all__ = ["ChannelArgMax", "ChannelMax", "ChannelSum", "HalfMaxPool", "RowMax"]

_LEAST = float("-inf")


@dataclass(frozen=True)
class HalfMaxPool(Kernel):
    """The largest value of each window of a map of bf16, or NaN, by the bits: none is rounded.

    As signed integers bf16 are in order, once all bits of a negative one but its sign are turned;
    the one NaN that maps hold is above infinity. Arguments: x (buffer, ring, row), dy, dx, y.

    Attributes:
        channels: computed at once.
    """

    family: ClassVar[str] = "halfmaxpool"

    kernel: tuple[int, int]
    stride: tuple[int, int]
    channels: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", narrow=True)
        dy, dx = ints("dy", "dx")
        taps = hl.RDom([(0, self.kernel[1]), (0, self.kernel[0])], "taps")
        most, out = hl.Func("most"), hl.Func(self.name)

        def ordered(column: Any, row: Any) -> Any:
            return _turned(hl.reinterpret(hl.Int(16), source.raw((c, column, row))))

        across, down = x * self.stride[1], y * self.stride[0]
        most[c, x, y] = ordered(across, down)
        most[c, x, y] = hl.max(most[c, x, y], ordered(across + taps.x * dx, down + taps.y * dy))
        out[c, x, y] = hl.reinterpret(hl.UInt(16), _turned(most[c, x, y]))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, self.channels, hl.TailStrategy.RoundUp).vectorize(lane)
        most.compute_at(out, block).vectorize(c, self.channels)
        most.update().vectorize(c, self.channels)
        return result(out), [*source.arguments, dy, dx]


def _turned(bits: Any) -> Any:
    """With all bits but the sign turned where that is set; twice is as if not at all."""
    return bits ^ ((bits >> 15) & hl.i16(0x7FFF))


@dataclass(frozen=True)
class RowMax(Kernel):
    """The largest value of each row. Arguments: x (buffer, ring, row), width, y."""

    family: ClassVar[str] = "rowmax"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (width,) = Rows("x", self.numbers.source), ints("width")
        along = hl.RDom([(0, width)], "along")
        most, out = hl.Func("most"), hl.Func(self.name)
        most[c, x, y] = hl.f32(_LEAST)
        most[c, x, y] = larger(source[c, x + along.x, y], most[c, x, y])
        out[c, x, y] = self.stored(most[c, x, y])
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        most.compute_at(out, block).vectorize(c, isa.lanes)
        most.update().reorder(c, x, y, along.x).vectorize(c, isa.lanes)
        return result(out), [*source.arguments, width]


@dataclass(frozen=True)
class ChannelMax(Kernel):
    """The largest channel of each pixel. Arguments: x (buffer, ring, row), channels, y."""

    family: ClassVar[str] = "channelmax"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane = hl.Var("c"), hl.Var("x"), hl.Var("y"), hl.Var("lane")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        lanes, most, out = hl.Func("lanes"), hl.Func("most"), hl.Func(self.name)
        k = hl.RDom([(0, (channels + isa.lanes - 1) // isa.lanes)], "vectors")
        # A choice, and no condition of the loop: that would be one for each lane.
        channel = k.x * isa.lanes + lane
        value = hl.select(channel < channels, source[channel, x, y], hl.f32(_LEAST))
        lanes[lane, x, y] = hl.f32(_LEAST)
        lanes[lane, x, y] = larger(value, lanes[lane, x, y])
        across = hl.RDom([(0, isa.lanes)], "across")
        most[x, y] = hl.f32(_LEAST)
        most[x, y] = larger(hl.Expr(lanes[across.x, x, y]), hl.Expr(most[x, y]))
        out[c, x, y] = self.stored(most[x, y])
        lanes.compute_at(out, x).vectorize(lane, isa.lanes)
        lanes.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
        most.compute_at(out, x).update().unroll(across.x)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels]


@dataclass(frozen=True)
class ChannelArgMax(Kernel):
    """The number of the largest channel of each pixel, the first of several, as a float32.

    Arguments: x (buffer, ring, row), channels, y.
    """

    family: ClassVar[str] = "channelargmax"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane = hl.Var("c"), hl.Var("x"), hl.Var("y"), hl.Var("lane")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        lanes, out = hl.Func("lanes"), hl.Func(self.name)
        k = hl.RDom([(0, (channels + isa.lanes - 1) // isa.lanes)], "vectors")
        channel = k.x * isa.lanes + lane
        lanes[lane, x, y] = (hl.f32(_LEAST), lane)
        best, number = (lanes[lane, x, y][part] for part in (0, 1))
        value = source[channel, x, y]
        more = (value > best) | (is_nan(value) & ~is_nan(best))
        above = hl.strict_float((channel < channels) & more)
        lanes[lane, x, y] = (hl.select(above, value, best), hl.select(above, channel, number))
        number = _by_halves(lanes, isa.lanes, lane, x, y, out)
        out[c, x, y] = self.stored(hl.f32(number))
        lanes.compute_at(out, x).vectorize(lane, isa.lanes)
        lanes.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels]


@dataclass(frozen=True)
class ChannelSum(Kernel):
    """The sum of the channels of each pixel, times a factor.

    Arguments: x (buffer, ring, row), channels, factor, y.

    Attributes:
        squares: whether squares are summed.
        root: whether the result is the root of the sum.
    """

    family: ClassVar[str] = "channelsum"

    squares: bool = False
    root: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane = hl.Var("c"), hl.Var("x"), hl.Var("y"), hl.Var("lane")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        factor = hl.Param(hl.Float(32), "factor")
        lanes, total, out = hl.Func("lanes"), hl.Func("total"), hl.Func(self.name)
        k = hl.RDom([(0, (channels + isa.lanes - 1) // isa.lanes)], "vectors")
        channel = k.x * isa.lanes + lane
        value = hl.select(channel < channels, source[channel, x, y], hl.f32(0))
        lanes[lane, x, y] += value * value if self.squares else value
        across = hl.RDom([(0, isa.lanes)], "across")
        total[x, y] += lanes[across.x, x, y]
        whole = total[x, y] * factor
        out[c, x, y] = self.stored(hl.strict_float(hl.sqrt(whole)) if self.root else whole)
        lanes.compute_at(out, x).vectorize(lane, isa.lanes)
        lanes.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
        total.compute_at(out, x).update().atomic().vectorize(across.x)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels, factor]


def _by_halves(lanes: Any, count: int, lane: Any, x: Any, y: Any, out: Any) -> Any:
    """The number that goes with the largest of all lanes; of several, the smallest number."""
    while count > 1:
        count //= 2
        (one, first), (other, second) = (
            [lanes[lane + more, x, y][part] for part in (0, 1)] for more in (0, count)
        )
        same = (other == one) | (is_nan(other) & is_nan(one))
        above = (other > one) | (is_nan(other) & ~is_nan(one)) | (same & (second < first))
        chosen, half = hl.strict_float(above), hl.Func(f"most_{count}")
        half[lane, x, y] = (hl.select(chosen, other, one), hl.select(chosen, second, first))
        half.compute_at(out, x)
        if count > 1:
            half.vectorize(lane, count)
        lanes = half
    return lanes[0, x, y][1]
