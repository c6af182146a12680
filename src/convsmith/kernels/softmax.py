"""The channels of each pixel as shares of their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.activation import activate
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, is_nan, result
from convsmith.kernels.rows import larger

__all__ = ["ChannelSoftmax"]


@dataclass(frozen=True)
class ChannelSoftmax(Kernel):
    """Exponentials of the channels of each pixel over their sum.

    Arguments: x (buffer, ring, row), channels, y. The largest channel is subtracted first, so that
    no exponential is infinite.

    Attributes:
        logarithm: whether the result is the logarithm of that.
        vectors: that the channels fill; exponentials are then kept in registers. 0 for any number,
            where they are computed twice.
    """

    family: ClassVar[str] = "channelsoftmax"

    logarithm: bool = False
    vectors: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane, v = (hl.Var(name) for name in ("c", "x", "y", "lane", "v"))
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        best, power, sums = hl.Func("best"), hl.Func("power"), hl.Func("sums")
        total, out = hl.Func("total"), hl.Func(self.name)
        vectors = self.vectors or (channels + isa.lanes - 1) // isa.lanes
        k = hl.RDom([(0, vectors)], "vectors")
        across = hl.RDom([(0, isa.lanes)], "across")
        inside = k.x * isa.lanes + lane < channels
        value = hl.select(inside, source[k.x * isa.lanes + lane, x, y], hl.f32(float("-inf")))
        best[lane, x, y] = hl.f32(float("-inf"))
        best[lane, x, y] = larger(value, best[lane, x, y])
        most = _largest(best, isa.lanes, lane, x, y, out)
        power[lane, v, x, y] = _power(source[v * isa.lanes + lane, x, y] - most)
        sums[lane, x, y] += hl.select(inside, power[lane, k.x, x, y], hl.f32(0))
        total[x, y] += sums[across.x, x, y]
        if self.logarithm:
            logarithm = hl.Func("logarithm")
            logarithm[x, y] = activate("log", total[x, y])
            logarithm.compute_at(out, x)
            share = source[c, x, y] - most - logarithm[x, y]
        else:
            share = power[c % isa.lanes, c // isa.lanes, x, y] / total[x, y]
        out[c, x, y] = self.stored(share)
        block = hl.Var("block")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        best.compute_at(out, x).vectorize(lane, isa.lanes)
        sums.compute_at(out, x).vectorize(lane, isa.lanes)
        for summed in (best, sums):
            summed.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
        if self.vectors:
            power.compute_at(out, x).bound_extent(v, self.vectors).unroll(v)
            power.vectorize(lane, isa.lanes)
            best.update().unroll(k.x)
            sums.update().unroll(k.x)
        total.compute_at(out, x).update().atomic().vectorize(across.x)
        return result(out), [*source.arguments, channels]


def _power(value: Any) -> Any:
    """The exponential of what is not above 0, which is 0 where that is next to nothing."""
    small = value < hl.f32(-87)
    found = hl.select(small, hl.f32(0), hl.exp(hl.select(small, hl.f32(0), value)))
    return hl.strict_float(hl.select(is_nan(value), value, found))


def _largest(lanes: Any, count: int, lane: Any, x: Any, y: Any, out: Any) -> Any:
    """The largest of all lanes, by halves."""
    while count > 1:
        count //= 2
        half = hl.Func(f"most_{count}")
        pair = hl.Expr(lanes[lane, x, y]), hl.Expr(lanes[lane + count, x, y])
        half[lane, x, y] = larger(*pair)
        half.compute_at(out, x)
        if count > 1:
            half.vectorize(lane, count)
        lanes = half
    return lanes[0, x, y]
