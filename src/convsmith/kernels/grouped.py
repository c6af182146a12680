"""Convolutions in groups of few channels, or of any number that does not fill a vector."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result, vector
from convsmith.kernels.pointwise import BARE, Epilogue

__all__ = ["Grouped"]


@dataclass(frozen=True)
class Grouped(Kernel):
    """Each group of outputs from its own group of inputs.

    A vector of outputs spans several groups. Input j of each group is spread over the lanes of its
    group first, once for all taps that read it; then every multiply-add is on whole vectors, and no
    weight is a zero that could meet an infinity of another group. Arguments: x (buffer, ring, row),
    dilation (rows, pixels), w, b, residual, y. The weights are (outputs, inputs of a group,
    columns, rows), the outputs innermost.

    Attributes:
        inputs: of a group.
        outputs: of a group; inputs 1 makes a depthwise convolution with a multiplier of these.
        pixels: of a register tile.
        part: inputs of a group that are summed by themselves first, for each row of the window;
            0 for all in one go. It must divide their number. A long sum in one go has an error
            that grows with its length.
    """

    family: ClassVar[str] = "grouped"

    inputs: int
    outputs: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    epilogue: Epilogue = BARE
    part: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, j, x, y = hl.Var("c"), hl.Var("j"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        other = Rows("residual", self.numbers.residual)
        dy, dx = ints("dy", "dx")
        w, b = hl.ImageParam(hl.Float(32), 4, "w"), vector("b")
        w.dim(0).set_stride(1)
        for axis in range(4):
            w.dim(axis).set_min(0)
        rate = (dy, dx) if self.dilated else (1, 1)
        spread = hl.Func("spread")
        spread[c, j, x, y] = source[c // self.outputs * self.inputs + j, x, y]
        total, part, n, v = hl.Func("total"), hl.Func("part"), hl.Var("n"), hl.Var("v")
        total[c, x, y] = hl.f32(0)

        def product(i: Any, u: Any, v: Any) -> Any:
            place = x * self.stride[1] + u * rate[1], y * self.stride[0] + v * rate[0]
            return w[c, i, u, v] * spread[c, i, place[0], place[1]]

        if self.part:
            r = hl.RDom([(0, self.part), (0, self.kernel[1])], "r")
            sums = hl.RDom([(0, self.inputs // self.part), (0, self.kernel[0])], "sums")
            part[c, x, y, n, v] += product(r.x + self.part * n, r.y, v)
            total[c, x, y] += part[c, x, y, sums.x, sums.y]
        else:
            r = sums = hl.RDom([(0, self.inputs), (0, self.kernel[1]), (0, self.kernel[0])], "r")
            total[c, x, y] += product(r.x, r.y, r.z)
        out = hl.Func(self.name)
        value = self.epilogue.apply(total[c, x, y] + b[c], other[c, x, y])
        out[c, x, y] = self.stored(value)

        block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
        lanes = _lanes(self.outputs, isa.lanes)
        out.split(c, block, lane, lanes, hl.TailStrategy.RoundUp)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        # Outermost, so that a block's weights stay in the first cache: it shares no input either.
        out.reorder(lane, pixel, tile, y, block).vectorize(lane).unroll(pixel)
        total.compute_at(out, tile).vectorize(c, lanes).unroll(x).unroll(y)
        update = total.update().vectorize(c, lanes).unroll(x).unroll(y)
        if self.part:
            update.reorder(c, x, sums.x, sums.y, y)
            part.compute_at(total, sums.x).vectorize(c, lanes).unroll(x)
            part.update().reorder(c, x, r.y, r.x).vectorize(c, lanes).unroll(x).unroll(r.y)
        else:
            update.reorder(c, x, r.y, r.x, r.z, y).unroll(r.y)
        spread.compute_at(part if self.part else total, r.x).store_in(hl.MemoryType.Stack)
        spread.vectorize(c, lanes)
        if not self.dilated:
            spread.unroll(x)
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, dy, dx, w, b, *extra]


def _lanes(outputs: int, most: int) -> int:
    """The lanes of a vector that holds whole groups, or lies in one: others load lane by lane."""
    if most % outputs == 0:
        return most
    shared = gcd(most, outputs)
    return shared if shared >= 4 else most
