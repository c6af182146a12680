"""Largest values of rows; largest values and sums of the channels of pixels.

A NaN among them is the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.across import by_halves, by_pixels, channel_sum, fold, vectors_of, within
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
    """The largest value of each row. Arguments: x (buffer, ring, row), width, y.

    Attributes:
        least: whether it is the smallest one.
    """

    family: ClassVar[str] = "rowmax"

    least: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (width,) = Rows("x", self.numbers.source), ints("width")
        along = hl.RDom([(0, width)], "along")
        most, out = hl.Func("most"), hl.Func(self.name)
        most[c, x, y] = hl.f32(_LEAST)
        # The smallest value is the largest of what is below 0 as far as it is above, and so on.
        turn = hl.f32(-1 if self.least else 1)
        most[c, x, y] = larger(source[c, x + along.x, y] * turn, most[c, x, y])
        out[c, x, y] = self.stored(most[c, x, y] * turn)
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        most.compute_at(out, block).vectorize(c, isa.lanes)
        most.update().reorder(c, x, y, along.x).vectorize(c, isa.lanes)
        return result(out), [*source.arguments, width]


@dataclass(frozen=True)
class ChannelMax(Kernel):
    """The largest channel of each pixel. Arguments: x (buffer, ring, row), channels, y.

    Attributes:
        pixels: computed at once.
        least: whether it is the smallest channel.
    """

    family: ClassVar[str] = "channelmax"

    pixels: int = 1
    least: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        out, key = hl.Func(self.name), hl.Func("key")
        turn = hl.f32(-1 if self.least else 1)

        def place(channel: Any) -> Any:
            value = _order(source[channel, x, y] * turn)
            return within(channel, channels, value, hl.i32(_LOWEST))

        vectors = vectors_of(channels, isa.lanes)
        lanes = fold("lanes", out, hl.max, hl.i32(_LOWEST), vectors, place)
        key[x, y] = by_halves(lanes, out, isa.lanes, hl.max)
        out[c, x, y] = self.stored(_of_order(key[x, y]) * turn)
        by_pixels(out, self.pixels)
        key.compute_at(out, x).unroll(x)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels]


@dataclass(frozen=True)
class ChannelArgMax(Kernel):
    """The number of the largest channel of each pixel, the first of several, as a float32.

    Arguments: x (buffer, ring, row), channels, y.

    Attributes:
        pixels: computed at once.
    """

    family: ClassVar[str] = "channelargmax"

    pixels: int = 1

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane = hl.Var("c"), hl.Var("x"), hl.Var("y"), hl.Var("lane")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        out, key, number = hl.Func(self.name), hl.Func("key"), hl.Func("number")

        def place(channel: Any) -> tuple[Any, Any]:
            value = _order(source[channel, x, y])
            some = within(channel, channels, value, hl.i32(_LOWEST))
            return some, channel

        def later(best: Any, more: tuple[Any, Any]) -> tuple[Any, Any]:
            above = more[0] > best[0]
            return hl.max(more[0], best[0]), hl.select(above, more[1], best[1])

        vectors = vectors_of(channels, isa.lanes)
        lanes = fold("lanes", out, later, (hl.i32(_LOWEST), hl.i32(0)), vectors, place)
        keys, firsts = hl.Func("keys"), hl.Func("firsts")
        keys[lane, x, y] = lanes[lane, x, y][0]
        key[x, y] = by_halves(keys, out, isa.lanes, hl.max)
        best = lanes[lane, x, y][0] == key[x, y]
        firsts[lane, x, y] = hl.select(best, lanes[lane, x, y][1], hl.i32(_HIGHEST))
        number[x, y] = by_halves(firsts, out, isa.lanes, hl.min)
        out[c, x, y] = self.stored(hl.f32(number[x, y]))
        by_pixels(out, self.pixels)
        for each in (keys, firsts):
            each.compute_at(out, x).vectorize(lane, isa.lanes).unroll(x)
        for one in (key, number):
            one.compute_at(out, x).unroll(x)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels]


_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


def _order(value: Any) -> Any:
    """A whole number for each float32, in their order: both zeros are 0, a NaN is the highest.

    Integers are compared, and the larger one of two is taken, in one instruction each.
    """
    bits = hl.reinterpret(hl.UInt(32), value)
    turned = hl.select(bits >> 31 == hl.u32(1), hl.u32(2**31) - bits, bits)
    return hl.select(is_nan(value), hl.i32(_HIGHEST), hl.reinterpret(hl.Int(32), turned))


def _of_order(number: Any) -> Any:
    """The float32 of a number that `_order` has given."""
    bits = hl.reinterpret(hl.UInt(32), number)
    turned = hl.select(number < 0, hl.u32(2**31) - bits, bits)
    return hl.reinterpret(hl.Float(32), turned)


@dataclass(frozen=True)
class ChannelSum(Kernel):
    """The sum of the channels of each pixel, times a factor.

    Arguments: x (buffer, ring, row), channels, factor, y.

    Attributes:
        squares: whether squares are summed.
        root: whether the result is the root of the sum.
        pixels: computed at once.
        centred: whether those are of the values less their mean.
    """

    family: ClassVar[str] = "channelsum"

    squares: bool = False
    root: bool = False
    pixels: int = 1
    centred: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        factor = hl.Param(hl.Float(32), "factor")
        out, middle = hl.Func(self.name), hl.f32(0)
        if self.centred:
            total = channel_sum("middle", out, channels, isa.lanes, lambda c: source[c, x, y])
            middle = total * (hl.f32(1) / hl.f32(channels))

        def term(channel: Any) -> Any:
            value = source[channel, x, y] - middle if self.centred else source[channel, x, y]
            return value * value if self.squares else value

        whole = channel_sum("total", out, channels, isa.lanes, term) * factor
        out[c, x, y] = self.stored(hl.strict_float(hl.sqrt(whole)) if self.root else whole)
        by_pixels(out, self.pixels)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels, factor]
