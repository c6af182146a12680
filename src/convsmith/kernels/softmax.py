"""The channels of each pixel as shares of their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.activation import activate
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result
from convsmith.kernels.rows import larger

__all__ = ["ChannelSoftmax"]


@dataclass(frozen=True)
class ChannelSoftmax(Kernel):
    """Exponentials of the channels of each pixel over their sum.

    Arguments: x (buffer, ring, row), channels, y. The largest channel is subtracted first, so that
    no exponential is infinite.

    Attributes:
        logarithm: whether the result is the logarithm of that.
    """

    family: ClassVar[str] = "channelsoftmax"

    logarithm: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, lane = hl.Var("c"), hl.Var("x"), hl.Var("y"), hl.Var("lane")
        source, (channels,) = Rows("x", self.numbers.source), ints("channels")
        most, total, out = hl.Func("most"), hl.Func("total"), hl.Func(self.name)
        best, sums = hl.Func("best"), hl.Func("sums")
        k = hl.RDom([(0, (channels + isa.lanes - 1) // isa.lanes)], "vectors")
        k.where(k.x * isa.lanes + lane < channels)
        across = hl.RDom([(0, isa.lanes)], "across")
        value = source[k.x * isa.lanes + lane, x, y]
        best[lane, x, y] = hl.f32(float("-inf"))
        best[lane, x, y] = larger(value, best[lane, x, y])
        most[x, y] = hl.f32(float("-inf"))
        most[x, y] = larger(hl.Expr(best[across.x, x, y]), hl.Expr(most[x, y]))
        sums[lane, x, y] += activate("exp", value - most[x, y])
        total[x, y] += sums[across.x, x, y]
        apart = source[c, x, y] - most[x, y]
        if self.logarithm:
            share = apart - _logarithm(total, x, y, out)
        else:
            share = activate("exp", apart) / total[x, y]
        out[c, x, y] = self.stored(share)
        block = hl.Var("block")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        for each, summed in ((best, most), (sums, total)):
            each.compute_at(out, x).vectorize(lane, isa.lanes)
            each.update().reorder(lane, x, k.x).vectorize(lane, isa.lanes)
            summed.compute_at(out, x)
        most.update().unroll(across.x)
        total.update().atomic().vectorize(across.x)
        return result(out), [*source.arguments, channels]


def _logarithm(total: Any, x: Any, y: Any, out: Any) -> Any:
    """That of the sum of a pixel, computed once for all channels."""
    logarithm = hl.Func("logarithm")
    logarithm[x, y] = activate("log", total[x, y])
    logarithm.compute_at(out, x)
    return logarithm[x, y]
