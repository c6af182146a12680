"""Convolutions in groups of few channels, or of any number that does not fill a vector."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.epilogue import BARE, Epilogue
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, half, ints, result, vector
from convsmith.kernels.pointwise import product_of

__all__ = ["Grouped"]


@dataclass(frozen=True)
class Grouped(Kernel):
    """Each group of outputs from its own group of inputs.

    A vector of outputs spans several groups. Input j of each group is spread over the lanes of its
    group first, once for all taps that read it; then every multiply-add is on whole vectors, and no
    weight is a zero that could meet an infinity of another group. Arguments: x (buffer, ring, row),
    dilation (rows, pixels), w, b, slopes, residual, y. The weights are (outputs, inputs of a group,
    columns, rows), the outputs innermost; in products of bf16 two inputs of an output lie beside
    each other.

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
        source = Rows("x", narrow=self.numbers.source)
        other = Rows("residual", self.numbers.residual)
        dy, dx = ints("dy", "dx")
        by_pairs = self.numbers.products
        w, b, slope = _weights(by_pairs), vector("b"), vector("slope")
        rate = (dy, dx) if self.dilated else (1, 1)
        spread = hl.Func("spread")
        spread[c, j, x, y] = source[c // self.outputs * self.inputs + j, x, y]
        both, halves = hl.Func("both"), hl.Func("halves")
        total, part, n, v = hl.Func("total"), hl.Func("part"), hl.Var("n"), hl.Var("v")
        total[c, x, y] = hl.f32(0)

        def product(i: Any, u: Any, v: Any) -> Any:
            place = x * self.stride[1] + u * rate[1], y * self.stride[0] + v * rate[0]
            return w[c, i, u, v] * spread[c, i, place[0], place[1]]

        if by_pairs:
            r = sums = hl.RDom(
                [(0, 2), (0, self.inputs // 2), (0, self.kernel[1]), (0, self.kernel[0])], "two"
            )
            both[c, j, x, y] = source.pair((c // self.outputs * self.inputs + 2 * j, x, y))
            halves[c, j, x, y] = half(both[c // 2, j, x, y], c)
            place = x * self.stride[1] + r.z * rate[1], y * self.stride[0] + r.w * rate[0]
            factor = hl.reinterpret(hl.BFloat(16), halves[2 * c + r.x, r.y, place[0], place[1]])
            total[c, x, y] += product_of(w[2 * c + r.x, r.y, r.z, r.w], factor)
        elif self.part:
            r = hl.RDom([(0, self.part), (0, self.kernel[1])], "r")
            sums = hl.RDom([(0, self.inputs // self.part), (0, self.kernel[0])], "sums")
            part[c, x, y, n, v] += product(r.x + self.part * n, r.y, v)
            total[c, x, y] += part[c, x, y, sums.x, sums.y]
        else:
            r = sums = hl.RDom([(0, self.inputs), (0, self.kernel[1]), (0, self.kernel[0])], "r")
            total[c, x, y] += product(r.x, r.y, r.z)
        out = hl.Func(self.name)
        value = self.epilogue.apply(total[c, x, y] + b[c], other[c, x, y], slope[c])
        out[c, x, y] = self.stored(value)

        block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
        lanes = _lanes(self.outputs, isa.lanes)
        out.split(c, block, lane, lanes, hl.TailStrategy.RoundUp)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        # Outermost, so that a block's weights stay in the first cache: it shares no input either.
        out.reorder(lane, pixel, tile, y, block).vectorize(lane).unroll(pixel)
        total.compute_at(out, tile).vectorize(c, lanes).unroll(x).unroll(y)
        extra = self.epilogue.arguments(slope, other)
        arguments = [*source.arguments, dy, dx, w, b, *extra]
        if by_pairs:
            update = total.update().reorder(r.x, c, x, r.z, r.y, r.w, y).atomic().vectorize(r.x)
            update.vectorize(c, lanes).unroll(x).unroll(y).unroll(r.z)
            halves.compute_at(total, r.y).store_in(hl.MemoryType.Stack).vectorize(c, 2 * lanes)
            both.compute_at(halves, x).vectorize(c, lanes)
            if not self.dilated:
                halves.unroll(x)
            return result(out), arguments
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
        return result(out), arguments


def _weights(by_pairs: bool) -> Any:
    """As the kernel takes them: in bf16 two inputs of each output lie beside each other."""
    w = hl.ImageParam(hl.BFloat(16) if by_pairs else hl.Float(32), 4, "w")
    w.dim(0).set_stride(1)
    for axis in range(4):
        w.dim(axis).set_min(0)
    return w


def _lanes(outputs: int, most: int) -> int:
    """The lanes of a vector that holds whole groups, or lies in one: others load lane by lane."""
    if most % outputs == 0:
        return most
    shared = gcd(most, outputs)
    return shared if shared >= 4 else most
