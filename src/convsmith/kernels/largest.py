"""The largest values of rows, and of the channels of pixels; a NaN among them is the largest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result
from convsmith.kernels.rows import larger

__all__ = ["ChannelMax", "HalfMaxPool", "RowMax"]

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
        k.where(k.x * isa.lanes + lane < channels)
        lanes[lane, x, y] = hl.f32(_LEAST)
        lanes[lane, x, y] = larger(source[k.x * isa.lanes + lane, x, y], lanes[lane, x, y])
        across = hl.RDom([(0, isa.lanes)], "across")
        most[x, y] = hl.f32(_LEAST)
        most[x, y] = larger(hl.Expr(lanes[across.x, x, y]), hl.Expr(most[x, y]))
        out[c, x, y] = self.stored(most[x, y])
        lanes.compute_at(out, x).vectorize(lane, isa.lanes)
        lanes.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
        most.compute_at(out, x).update().unroll(across.x)
        out.output_buffer().dim(0).set_extent(1)
        return result(out), [*source.arguments, channels]
