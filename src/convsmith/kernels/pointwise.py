"""Sums over channels, tiled in registers: pointwise, dense, and the end of a separable block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.epilogue import BARE, Epilogue, ended
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, matrix, pairs, result, vector
from convsmith.kernels.rounding import Rounding

__all__ = [
    "Dense", "Pointwise", "in_panel", "product_of", "steps", "tile_output", "tile_part",
]  # fmt: skip


@dataclass(frozen=True)
class Pointwise(Kernel):
    """`y[co] = Σ w[ci, co]·x[ci] + b[co]` at each pixel, stride as an argument.

    Arguments: x (buffer, ring, row), inputs (channels summed), stride, those of a part where there
    are `parts`, w, b, the slopes and the residual (buffer, ring, row) where there are such, y.

    Attributes:
        channels: outputs of a register tile.
        pixels: pixels of one.
        unroll: inputs of a step; it must divide their number, or that of a part.
        parts: whether so many neighbouring inputs are summed by themselves first; their number must
            divide that of all. A long sum in one go has an error that grows with its length,
            several times that of other libraries.
        panel: channels whose weights lie together: those of a tile, or of several.
        outermost: whether a tile of outputs goes through all pixels before the next one does, for
            weights that no second cache holds.
    """

    family: ClassVar[str] = "pointwise"

    channels: int
    pixels: int
    unroll: int = 2
    epilogue: Epilogue = BARE
    parts: bool = False
    outermost: bool = False
    panel: int = field(kw_only=True)

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        by_pairs = self.numbers.products
        source = Rows("x", self.numbers.source, by_pairs)
        other = Rows("residual", self.numbers.residual)
        inputs, stride, near = ints("inputs", "stride", "near")
        w, b = (pairs if by_pairs else matrix)("w", self.panel), vector("b")
        slope = vector("slope")
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)

        def product(i: Any) -> Any:
            place, panel = in_panel(c, self)
            weight = w[place, i + panel * inputs]
            return weight * source[i, x * stride, y * stride]

        part, u = hl.Func("part"), hl.Var("u")
        two = hl.RDom([(0, 2), (0, inputs // 2)], "two")
        if by_pairs:
            r = parts = two
            row = two.y + inputs // 2 * (c // self.channels)
            factor = source.raw((two.x + 2 * two.y, x * stride, y * stride))
            total[c, x, y] += product_of(w[two.x, c % self.channels, row], factor)
        elif self.parts:
            r, parts = hl.RDom([(0, near)], "r"), hl.RDom([(0, inputs // near)], "parts")
            part[c, x, y, u] += product(r.x + near * u)
            total[c, x, y] += part[c, x, y, parts.x]
        else:
            r = parts = hl.RDom([(0, inputs)], "r")
            total[c, x, y] += product(r.x)
        out = hl.Func(self.name)
        values = total[c, x, y] + b[c], other[c, x, y], slope[c]
        out[c, x, y], rounding = ended(self, values, (c, x, y), isa.lanes)

        unroll = steps(self, isa)
        order = [two.x, two.y] if by_pairs else [parts.x]
        whole = 1 if self.parts else unroll
        tile_output(
            out, total, self.channels, self.pixels, isa.lanes, order, whole, by_pairs, rounding,
            self.outermost,
        )  # fmt: skip
        if self.parts:
            tile_part(part, total, parts.x, r.x, isa.lanes, unroll)
        numbers = [inputs, stride, *[near][: self.parts]]
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, *numbers, w, b, *extra]


@dataclass(frozen=True)
class Dense(Kernel):
    """A full convolution, also of few input channels (a stem); dilation as an argument.

    Arguments: x (buffer, ring, row), inputs, those of a part where there are `parts`, dilation
    (rows, pixels), w, b, slopes, residual, y. The weights lie as for `Pointwise`, the taps being
    the outer part of the summed axis.

    Attributes:
        parts: whether so many neighbouring inputs of each tap are summed by themselves first, as
            for `Pointwise`.
        panel: as for `Pointwise`.
    """

    family: ClassVar[str] = "dense"

    channels: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    epilogue: Epilogue = BARE
    parts: bool = False
    panel: int = field(kw_only=True)

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        by_pairs = self.numbers.products
        source = Rows("x", self.numbers.source, by_pairs)
        other = Rows("residual", self.numbers.residual)
        inputs, near, dy, dx = ints("inputs", "near", "dy", "dx")
        w, b = (pairs if by_pairs else matrix)("w", self.panel), vector("b")
        slope = vector("slope")
        (ky, kx), (sy, sx) = self.kernel, self.stride
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)

        def product(i: Any, u: Any, v: Any) -> Any:
            place, panel = in_panel(c, self)
            weight = w[place, i + inputs * (u + kx * (v + ky * panel))]
            return weight * source[i, x * sx + u * dx, y * sy + v * dy]

        part, n, u, v = hl.Func("part"), hl.Var("n"), hl.Var("u"), hl.Var("v")
        number = inputs // near if self.parts else inputs
        sums = hl.RDom([(0, number), (0, kx), (0, ky)], "sums")
        r = hl.RDom([(0, near)], "r")
        two = hl.RDom([(0, 2), (0, inputs // 2), (0, kx), (0, ky)], "two")
        if by_pairs:
            tap = two.z + kx * (two.w + ky * (c // self.channels))
            across, down = x * sx + two.z * dx, y * sy + two.w * dy
            weight = w[two.x, c % self.channels, two.y + inputs // 2 * tap]
            factor = source.raw((two.x + 2 * two.y, across, down))
            total[c, x, y] += product_of(weight, factor)
        elif self.parts:
            part[c, x, y, n, u, v] += product(r.x + near * n, u, v)
            total[c, x, y] += part[c, x, y, sums.x, sums.y, sums.z]
        else:
            total[c, x, y] += product(sums.x, sums.y, sums.z)
        out = hl.Func(self.name)
        values = total[c, x, y] + b[c], other[c, x, y], slope[c]
        out[c, x, y], rounding = ended(self, values, (c, x, y), isa.lanes)

        order = [two.x, two.y, two.z, two.w] if by_pairs else [sums.x, sums.y, sums.z]
        tile_output(out, total, self.channels, self.pixels, isa.lanes, order, 1, by_pairs, rounding)
        if self.parts:
            tile_part(part, total, sums.x, r.x, isa.lanes)
        numbers = [inputs, *[near][: self.parts], dy, dx]
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, *numbers, w, b, *extra]


def in_panel(c: Any, kernel: Any) -> tuple[Any, Any]:
    """Where the weights of a channel lie: the place in its panel, and the number of that."""
    tile, parts = kernel.channels, kernel.panel // kernel.channels
    return c % tile + tile * (c // tile % parts), c // tile // parts


def product_of(weight: Any, factor: Any) -> Any:
    """Of two numbers of bf16, in float32; written so that pairs of them are one instruction."""
    return hl.cast(hl.Float(32), weight) * hl.cast(hl.Float(32), factor)


def tile_part(part: Any, total: Any, at: Any, r: Any, lanes: int, unroll: int = 1) -> None:
    """Schedule the sum of a part in the same registers, before it is added to the whole."""
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
    by_pairs: bool = False,
    rounding: Rounding | None = None,
    outermost: bool = False,
) -> Any:
    """Schedule sums in a register tile of `channels` × `pixels`; give back the loop of tiles.

    The last tile of a row is moved inwards, so that a row needs no code for its rest: what is
    written twice has the same value.

    Args:
        out: what is written.
        total: the sums.
        channels: of a tile.
        pixels: of a tile.
        lanes: of a vector.
        sums: what is summed over, innermost first.
        unroll: how many steps of the innermost of these at once.
        by_pairs: whether it has two steps, of bf16, which one instruction multiplies and adds.
        rounding: of what is written, if it is bf16: of all channels of a tile at once.
        outermost: whether the loop of tiles of channels is the outer one.
    """
    c, x, y = out.args()
    block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
    part = hl.Var("part")
    whole = hl.TailStrategy.RoundUp
    width = lanes if rounding is None else channels
    out.split(c, block, part, channels, whole).split(part, part, lane, width, whole)
    out.split(x, tile, pixel, pixels, hl.TailStrategy.ShiftInwards)
    loops = [tile, y, block] if outermost else [block, tile, y]
    out.reorder(lane, part, pixel, *loops).vectorize(lane).unroll(part).unroll(pixel)
    total.compute_at(out, loops[0])
    if rounding is not None:
        rounding.compute_at(out, pixel, lanes)
    for stage in (total, total.update()):
        stage.split(c, part, lane, lanes, whole)
    total.reorder(lane, part, x, y).vectorize(lane).unroll(part).unroll(x).unroll(y)
    if by_pairs:
        pair, *sums = sums
        update = total.update().reorder(pair, lane, part, x, y, *sums).atomic().vectorize(pair)
        unroll = 1
    else:
        update = total.update().reorder(lane, part, x, y, *sums)
    update.vectorize(lane).unroll(part).unroll(x).unroll(y)
    if unroll > 1:
        update.unroll(sums[0], unroll)
    return tile


def steps(kernel: Any, isa: Isa) -> int:
    """Of its `unroll`, how many steps at once leave a kernel's sums in registers.

    Beside more sums LLVM keeps some in memory, to have the factors of a second step in registers.
    """
    return kernel.unroll if kernel.channels // isa.lanes * kernel.pixels <= _SUMS else 1


_SUMS = 24
"""Vectors of sums beside which there are registers for the factors of two steps."""
