"""Sums over channels, tiled in registers: pointwise, dense, and the end of a separable block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.activation import activate
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, matrix, result, vector

__all__ = ["BARE", "Dense", "Epilogue", "Pointwise", "tile_output"]


@dataclass(frozen=True)
class Epilogue:
    """What happens to a sum before it is written: activation, residual, activation."""

    activation: str = "identity"
    residual: bool = False
    final: str = "identity"

    def apply(self, value: Any, residual: Any) -> Any:
        """The value to write, from the sum and the residual at its place.

        A bias is added to the sum: one that began with it would be rounded at its size each time.
        """
        value = activate(self.activation, value)
        if not self.residual:
            return value
        # In this order: the compiler would add bias and residual first where a tile is moved
        # inwards, and the end of a row would round otherwise than its middle.
        return activate(self.final, hl.strict_float(hl.strict_float(value) + residual))


BARE = Epilogue()


@dataclass(frozen=True)
class Pointwise(Kernel):
    """`y[co] = Σ w[ci, co]·x[ci] + b[co]` at each pixel, stride as an argument.

    Arguments: x (buffer, ring, row), inputs (channels summed), stride, w, b, residual (buffer,
    ring, row) where there is one, y.

    Attributes:
        channels: outputs of a register tile.
        pixels: pixels of one.
        unroll: inputs of a step; it must divide their number.
        part: inputs that are summed by themselves first, 0 for all; it must divide their number.
    """

    family: ClassVar[str] = "pointwise"

    channels: int
    pixels: int
    unroll: int = 2
    epilogue: Epilogue = BARE
    part: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x"), Rows("residual")
        inputs, stride = ints("inputs", "stride")
        w, b = matrix("w", self.channels), vector("b")
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)

        def product(i: Any) -> Any:
            weight = w[c % self.channels, i + (c // self.channels) * inputs]
            return weight * source[i, x * stride, y * stride]

        part, u = hl.Func("part"), hl.Var("u")
        if self.part:
            r, parts = hl.RDom([(0, self.part)], "r"), hl.RDom([(0, inputs // self.part)], "parts")
            part[c, x, y, u] += product(r.x + self.part * u)
            total[c, x, y] += part[c, x, y, parts.x]
        else:
            r = parts = hl.RDom([(0, inputs)], "r")
            total[c, x, y] += product(r.x)
        out = hl.Func(self.name)
        out[c, x, y] = self.epilogue.apply(total[c, x, y] + b[c], other[c, x, y])

        unroll = 1 if self.part else self.unroll
        tile_output(out, total, self.channels, self.pixels, isa.lanes, [parts.x], unroll)
        if self.part:
            tile_part(part, total, parts.x, r.x, isa.lanes, self.unroll)
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, inputs, stride, w, b, *extra]


@dataclass(frozen=True)
class Dense(Kernel):
    """A full convolution, also of few input channels (a stem); dilation as an argument.

    Arguments: x (buffer, ring, row), inputs, dilation (rows, pixels), w, b, residual, y. The
    weights lie as for `Pointwise`, the taps being the outer part of the summed axis.

    Attributes:
        parts: whether each tap is summed by itself first. A long sum in one go has an error that
            grows with its length, several times that of other libraries.
    """

    family: ClassVar[str] = "dense"

    channels: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    epilogue: Epilogue = BARE
    parts: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x"), Rows("residual")
        inputs, dy, dx = ints("inputs", "dy", "dx")
        w, b = matrix("w", self.channels), vector("b")
        (ky, kx), (sy, sx) = self.kernel, self.stride
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)
        if self.parts:
            u, v = hl.Var("u"), hl.Var("v")
            r, taps = hl.RDom([(0, inputs)], "r"), hl.RDom([(0, kx), (0, ky)], "taps")
            column, row, sums = taps.x, taps.y, [taps.x, taps.y]
        else:
            r = hl.RDom([(0, inputs), (0, kx), (0, ky)], "r")
            u, v, sums = r.y, r.z, [r.x, r.y, r.z]
        weight = w[c % self.channels, r.x + inputs * (u + kx * (v + ky * (c // self.channels)))]
        product = weight * source[r.x, x * sx + u * dx, y * sy + v * dy]
        part = hl.Func("part")
        if self.parts:
            part[c, x, y, u, v] += product
            product = part[c, x, y, column, row]
        total[c, x, y] += product
        out = hl.Func(self.name)
        out[c, x, y] = self.epilogue.apply(total[c, x, y] + b[c], other[c, x, y])

        tile_output(out, total, self.channels, self.pixels, isa.lanes, sums)
        if self.parts:
            tile_part(part, total, column, r.x, isa.lanes)
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, inputs, dy, dx, w, b, *extra]


def tile_part(part: Any, total: Any, at: Any, r: Any, lanes: int, unroll: int = 1) -> None:
    """Schedule the sum of a part in the same registers, before it is added to the whole.

    A long sum in one go has an error that grows with its length, several times that of others.
    """
    c, x, y, *_ = part.args()
    part.compute_at(total, at).vectorize(c, lanes).unroll(c).unroll(x)
    update = part.update().reorder(c, x, y, r).vectorize(c, lanes)
    update.unroll(c).unroll(x)
    if unroll > 1:
        update.unroll(r, unroll)


def tile_output(
    out: Any,
    total: Any,
    channels: int,
    pixels: int,
    lanes: int,
    sums: list[Any],
    unroll: int = 1,
) -> Any:
    """Schedule sums in a register tile of `channels` × `pixels`; give back the loop of tiles.

    The last tile of a row is moved inwards, so that a row needs no code for its rest: what is
    written twice has the same value.
    """
    c, x, y = out.args()
    block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
    part = hl.Var("part")
    whole = hl.TailStrategy.RoundUp
    out.split(c, block, part, channels, whole).split(part, part, lane, lanes, whole)
    out.split(x, tile, pixel, pixels, hl.TailStrategy.ShiftInwards)
    out.reorder(lane, part, pixel, block, tile, y).vectorize(lane).unroll(part).unroll(pixel)
    total.compute_at(out, block)
    for stage in (total, total.update()):
        stage.split(c, part, lane, lanes, whole)
    total.reorder(lane, part, x, y).vectorize(lane).unroll(part).unroll(x).unroll(y)
    update = total.update().reorder(lane, part, x, y, *sums)
    update.vectorize(lane).unroll(part).unroll(x).unroll(y)
    if unroll > 1:
        update.unroll(sums[0], unroll)
    return tile
