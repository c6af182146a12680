"""Depthwise convolutions, alone and with the pointwise one that follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.activation import activate
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, matrix, result, vector
from convsmith.kernels.pointwise import BARE, Epilogue, tile_output

__all__ = ["Depthwise", "Separable"]

_UNROLLED = 49  # taps: more of them would make code that no longer fits the instruction cache


@dataclass(frozen=True)
class Depthwise(Kernel):
    """Each channel by its own kernel; 1×1 is a scale and a shift, as batch norm alone is.

    Arguments: x (buffer, ring, row), dilation (rows, pixels), w, b, residual, y.
    """

    family: ClassVar[str] = "depthwise"

    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    epilogue: Epilogue = BARE

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x"), Rows("residual")
        total, taps, arguments = _taps(source, self.kernel, self.stride, self.dilated)
        out = hl.Func(self.name)
        out[c, x, y] = self.epilogue.apply(total[c, x, y], other[c, x, y])

        block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        out.reorder(lane, pixel, block, tile, y).vectorize(lane).unroll(pixel)
        total.compute_at(out, block)
        _schedule_taps(total, taps, self.kernel, isa.lanes)
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, *arguments, *extra]


@dataclass(frozen=True)
class Separable(Kernel):
    """Depthwise then pointwise; the values between them never leave the first cache.

    They are computed once for a tile of pixels, for all channels, and then read by every tile of
    outputs. Arguments: x (buffer, ring, row), dilation (rows, pixels), depthwise w and b, inputs,
    pointwise w and b, residual, y.
    """

    family: ClassVar[str] = "separable"

    channels: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    middle: str = "identity"
    unroll: int = 2
    epilogue: Epilogue = BARE

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x"), Rows("residual")
        spatial, taps, arguments = _taps(source, self.kernel, self.stride, self.dilated)
        between = hl.Func("between")
        between[c, x, y] = activate(self.middle, spatial[c, x, y])
        (inputs,) = ints("inputs")
        w, b = matrix("pw", self.channels), vector("pb")
        r = hl.RDom([(0, inputs)], "r")
        total = hl.Func("total")
        total[c, x, y] = b[c]
        weight = w[c % self.channels, r.x + (c // self.channels) * inputs]
        total[c, x, y] += weight * between[r.x, x, y]
        out = hl.Func(self.name)
        out[c, x, y] = self.epilogue.apply(total[c, x, y], other[c, x, y])

        tile = tile_output(out, total, self.channels, self.pixels, isa.lanes, [r.x], self.unroll)
        block, lane = hl.Var("block"), hl.Var("lane")
        between.compute_at(out, tile).store_in(hl.MemoryType.Stack)
        between.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp)
        between.reorder(lane, x, block, y).vectorize(lane).unroll(x)
        spatial.compute_at(between, block)
        _schedule_taps(spatial, taps, self.kernel, isa.lanes)
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, *arguments, inputs, w, b, *extra]


def _taps(
    source: Rows, kernel: tuple[int, int], stride: tuple[int, int], dilated: bool
) -> tuple[Any, Any, list[Any]]:
    """The sum over a window of each channel, its taps, and the arguments it takes."""
    c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
    dy, dx = ints("dy", "dx")
    w, b = hl.ImageParam(hl.Float(32), 3, "w"), vector("b")
    w.dim(0).set_stride(1)
    for axis in range(3):
        w.dim(axis).set_min(0)
    # A constant rate lets neighbouring pixels share what they load.
    rate = (dy, dx) if dilated else (1, 1)
    taps = hl.RDom([(0, kernel[1]), (0, kernel[0])], "taps")
    total = hl.Func("spatial")
    total[c, x, y] = b[c]
    place = (x * stride[1] + taps.x * rate[1], y * stride[0] + taps.y * rate[0])
    total[c, x, y] += w[c, taps.x, taps.y] * source[c, place[0], place[1]]
    return total, taps, [dy, dx, w, b]


def _schedule_taps(total: Any, taps: Any, kernel: tuple[int, int], lanes: int) -> None:
    c, x, y = total.args()
    total.vectorize(c, lanes).unroll(x).unroll(y)
    update = total.update().reorder(c, taps.x, x, taps.y, y).vectorize(c, lanes)
    if kernel[0] * kernel[1] <= _UNROLLED:
        update.unroll(taps.x).unroll(x).unroll(taps.y).unroll(y)
    else:
        update.reorder(c, x, taps.x, taps.y, y).unroll(x).unroll(y)
