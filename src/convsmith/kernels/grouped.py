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
    """

    family: ClassVar[str] = "grouped"

    inputs: int
    outputs: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    epilogue: Epilogue = BARE

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, j, x, y = hl.Var("c"), hl.Var("j"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x"), Rows("residual")
        dy, dx = ints("dy", "dx")
        w, b = hl.ImageParam(hl.Float(32), 4, "w"), vector("b")
        w.dim(0).set_stride(1)
        for axis in range(4):
            w.dim(axis).set_min(0)
        rate = (dy, dx) if self.dilated else (1, 1)
        spread = hl.Func("spread")
        spread[c, j, x, y] = source[c // self.outputs * self.inputs + j, x, y]
        r = hl.RDom([(0, self.inputs), (0, self.kernel[1]), (0, self.kernel[0])], "r")
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)
        place = x * self.stride[1] + r.y * rate[1], y * self.stride[0] + r.z * rate[0]
        total[c, x, y] += w[c, r.x, r.y, r.z] * spread[c, r.x, place[0], place[1]]
        out = hl.Func(self.name)
        out[c, x, y] = self.epilogue.apply(total[c, x, y] + b[c], other[c, x, y])

        block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
        lanes = _lanes(self.outputs, isa.lanes)
        out.split(c, block, lane, lanes, hl.TailStrategy.RoundUp)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        # Outermost, so that a block's weights stay in the first cache: it shares no input either.
        out.reorder(lane, pixel, tile, y, block).vectorize(lane).unroll(pixel)
        total.compute_at(out, tile).vectorize(c, lanes).unroll(x).unroll(y)
        update = total.update().reorder(c, x, r.y, r.x, r.z, y).vectorize(c, lanes)
        update.unroll(x).unroll(r.y).unroll(y)
        spread.compute_at(total, r.x).store_in(hl.MemoryType.Stack)
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
