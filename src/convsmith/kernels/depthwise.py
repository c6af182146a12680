"""Depthwise convolutions, alone and with the pointwise one that follows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.activation import activate, is_learnt
from convsmith.kernels.epilogue import BARE, Epilogue, ended
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import (
    ALIGNMENT,
    Kernel,
    Rows,
    ints,
    matrix,
    pairs,
    result,
    rounded,
    vector,
)  # fmt: skip
from convsmith.kernels.pointwise import in_panel, product_of, steps, tile_output, tile_part
from convsmith.kernels.rounding import Rounding

__all__ = ["Depthwise", "Separable"]

_UNROLLED = 49  # taps: more of them would make code that no longer fits the instruction cache


@dataclass(frozen=True)
class Depthwise(Kernel):
    """Each channel by its own kernel; 1×1 is a scale and a shift, as batch norm alone is.

    Arguments: x (buffer, ring, row), dilation (rows, pixels), w, b, slopes, residual, y.

    Attributes:
        pixels: of a tile.
        strip: pixels of it that are summed at once, for large windows; 0 for all.
        words: of maps of bf16, pairs of channels that are computed at once; 0 for one by one. The
            weights, biases and slopes of so many even channels then lie before those of the odd
            ones.
    """

    family: ClassVar[str] = "depthwise"

    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    epilogue: Epilogue = BARE
    strip: int = 0
    words: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        other = Rows("residual", self.numbers.residual)
        totals, arguments = _taps(source, self, isa.lanes)
        slope, out = _by_channel("slope"), hl.Func(self.name)
        rounding = None
        if self.words:
            pair = hl.Var("pair")
            epilogue, ends = self.epilogue.parted
            values = [
                epilogue.apply(
                    total[pair, 0, x, y],
                    other.of_word(pair, parity, x, y),
                    slope[_place(pair, parity, self.words), 0],
                )
                for parity, total in enumerate(totals)
            ]
            rounding = Rounding(values, (pair, x, y), ends)
            out[c, x, y] = rounding[c, x, y]
        else:
            (total,) = totals
            value = self.epilogue.apply(total[c, 0, x, y], other[c, x, y], slope[c, 0])
            out[c, x, y] = self.stored(value)

        block, lane, tile, pixel = hl.Var("block"), hl.Var("lane"), hl.Var("tile"), hl.Var("pixel")
        out.split(c, block, lane, 2 * self.words or isa.lanes, hl.TailStrategy.RoundUp)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        out.reorder(lane, pixel, block, tile, y).vectorize(lane).unroll(pixel)
        for total in totals:
            total.compute_at(out, block)
        if rounding is not None:
            rounding.compute_at(out, pixel, self.words)
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, *arguments, *extra]


@dataclass(frozen=True)
class Separable(Kernel):
    """Depthwise then pointwise; the values between them never leave the first cache.

    They are computed once for a tile of pixels, for all channels, and then read by every tile of
    outputs. Arguments: x (buffer, ring, row), dilation (rows, pixels), depthwise w, b and
    slopes, inputs, those of a part where there are `parts`, pointwise w, b and slopes, residual, y.

    Attributes:
        multiplier: depthwise kernels for each channel. The values between are an axis of them
            beside the channels, so that every one is a vector of neighbouring channels; the
            pointwise weights lie with that axis outside the inputs.
        parts: as for `Pointwise`.
        words: as for `Depthwise`, of the depthwise part.
        panel: as for `Pointwise`.
        together: of a float32 map and products of bf16, channels of the depthwise part that are
            computed and rounded at once; 0 for those of a vector of float32.
    """

    family: ClassVar[str] = "separable"

    channels: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilated: bool = False
    strip: ClassVar[int] = 0
    middle: str = "identity"
    unroll: int = 2
    epilogue: Epilogue = BARE
    multiplier: int = 1
    parts: bool = False
    words: int = 0
    together: int = 0
    panel: int = field(kw_only=True)

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, t, x, y = hl.Var("c"), hl.Var("t"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        other = Rows("residual", self.numbers.residual)
        spatials, arguments = _taps(source, self, isa.lanes)
        between, pair = hl.Func("between"), hl.Var("pair")
        by_pairs = self.numbers.products
        first, rounding = _by_channel("first_slope"), None
        if self.words or self.together:
            middle, ends = Epilogue(self.middle).parted
            sides, place = [], (pair if self.words else c, t, x, y)
            for parity, spatial in enumerate(spatials):
                channel = _place(pair, parity, self.words) if self.words else c
                sides.append(middle.apply(spatial[place], None, first[channel, t]))
            rounding = Rounding(sides, place, ends)
            value = rounding[c, t, x, y]
        else:
            value = activate(self.middle, spatials[0][c, t, x, y], first[c, t])
            value = rounded(value) if by_pairs else value
        between[c, t, x, y] = value
        inputs, near = ints("inputs", "near")
        width = 2 * self.words or self.together or isa.lanes
        w = (pairs if by_pairs else matrix)("pw", self.panel)
        b, slope = vector("pb"), vector("slope")
        total = hl.Func("total")
        total[c, x, y] = hl.f32(0)

        def product(i: Any, t: Any) -> Any:
            place, panel = in_panel(c, self)
            return w[place, i + inputs * (t + self.multiplier * panel)] * between[i, t, x, y]

        part, u, r = hl.Func("part"), hl.Var("u"), hl.RDom([(0, near)], "r")
        number = inputs // near if self.parts else inputs // 2 if by_pairs else inputs
        sums = hl.RDom([(0, number), (0, self.multiplier)], "sums")
        two = hl.RDom([(0, 2), (0, number), (0, self.multiplier)], "two")
        if by_pairs:
            row = two.y + inputs // 2 * (two.z + self.multiplier * (c // self.channels))
            # Always two, which the compiler is not to know: it would take it out of the sum that
            # an address is, and compute the addresses of four pixels as a vector at each step.
            step = inputs // (inputs // 2)
            between.bound(c, 0, (inputs + width - 1) // width * width)
            factor = hl.reinterpret(hl.BFloat(16), between[two.x + step * two.y, two.z, x, y])
            total[c, x, y] += product_of(w[two.x, c % self.channels, row], factor)
        elif self.parts:
            part[c, x, y, u, t] += product(r.x + near * u, t)
            total[c, x, y] += part[c, x, y, sums.x, sums.y]
        else:
            total[c, x, y] += product(sums.x, sums.y)
        out = hl.Func(self.name)
        values = total[c, x, y] + b[c], other[c, x, y], slope[c]
        out[c, x, y], last = ended(self, values, (c, x, y), isa.lanes)

        unroll = steps(self, isa)
        order = [two.x, two.y, two.z] if by_pairs else [sums.x, sums.y]
        tile = tile_output(
            out, total, self.channels, self.pixels, isa.lanes, order,
            1 if self.parts else unroll, by_pairs, last,
        )  # fmt: skip
        if self.parts:
            tile_part(part, total, sums.x, r.x, isa.lanes, unroll)
        block, lane = hl.Var("block"), hl.Var("lane")
        between.compute_at(out, tile).store_in(hl.MemoryType.Stack)
        between.split(c, block, lane, width, hl.TailStrategy.RoundUp)
        between.reorder(lane, x, t, block, y).vectorize(lane).unroll(x)
        for spatial in spatials:
            spatial.compute_at(between, t)
            if self.together:
                channels = spatial.args()[0]
                spatial.unroll(channels)
                spatial.update().unroll(channels)
        if rounding is not None:
            rounding.compute_at(between, x, self.words or isa.lanes)
        extra = self.epilogue.arguments(slope, other)
        numbers = [*[first][: is_learnt(self.middle)], inputs, *[near][: self.parts]]
        return result(out), [*source.arguments, *arguments, *numbers, w, b, *extra]

    def scratch(self, isa: Isa, source: Sequence[int], target: Sequence[int]) -> int:
        """The values between the two convolutions: all channels of a tile of pixels."""
        lanes = 2 * isa.lanes
        channels = -(-source[0] // lanes) * lanes
        return 4 * channels * self.multiplier * self.pixels + 4 * ALIGNMENT


def _taps(source: Rows, of: Depthwise | Separable, lanes: int) -> tuple[list[Any], list[Any]]:
    """The sum over a window of each channel, scheduled, and the arguments it takes.

    With `words` there are two: that of even channels, and that of odd ones, by pairs.
    """
    dy, dx = ints("dy", "dx")
    w, b = _by_channel("w", 4), _by_channel("b")
    if not of.words:
        totals = [_sum_of_taps(source, of, lanes, w, b, (dy, dx))]
    else:
        totals = [_sum_of_taps(source, of, of.words, w, b, (dy, dx), p) for p in (0, 1)]
    return totals, [dy, dx, w, b]


def _by_channel(name: str, axes: int = 2) -> Any:
    """Numbers whose innermost axis is the channels, the outermost one their multiples."""
    buffer = hl.ImageParam(hl.Float(32), axes, name)
    buffer.dim(0).set_stride(1)
    for axis in range(axes):
        buffer.dim(axis).set_min(0)
    return buffer


def _place(pair: Any, parity: int, words: int) -> Any:
    """Where the number of a channel lies, the even one of a pair or the odd one."""
    return pair // words * (2 * words) + pair % words + parity * words


def _sum_of_taps(
    source: Rows,
    of: Depthwise | Separable,
    lanes: int,
    w: Any,
    b: Any,
    rates: tuple[Any, Any],
    parity: int | None = None,
) -> Any:
    """One of these sums: over channels, or over pairs of them."""
    c, t, x, y = hl.Var("c"), hl.Var("t"), hl.Var("x"), hl.Var("y")
    # A constant rate lets neighbouring pixels share what they load.
    rate = rates if of.dilated else (1, 1)
    taps = hl.RDom([(0, of.kernel[1]), (0, of.kernel[0])], "taps")
    near, total = hl.Func("near"), hl.Func("spatial")
    if parity is None:
        near[c, x, y], place_of = source[c, x, y], c
    else:
        near[c, x, y] = source.of_word(c, parity, x, y)
        place_of = _place(c, parity, lanes)
    total[c, t, x, y] = b[place_of, t]
    place = x * of.stride[1] + taps.x * rate[1], y * of.stride[0] + taps.y * rate[0]
    product = w[place_of, taps.x, taps.y, t] * near[c, place[0], place[1]]
    if of.stride[1] > 1 and of.kernel[1] > 3:
        # LLVM adds the taps that two pixels of a tile share in another order, so that a value would
        # depend on its place in the tile; by trial it does so with these windows alone.
        total[c, t, x, y] = hl.strict_float(total[c, t, x, y] + product)
    else:
        total[c, t, x, y] += product

    total.vectorize(c, lanes).unroll(y)
    update = total.update().vectorize(c, lanes)
    if of.kernel[0] * of.kernel[1] <= _UNROLLED:
        total.unroll(x)
        update.reorder(c, taps.x, x, taps.y, y)
        update.unroll(taps.x).unroll(x).unroll(taps.y).unroll(y)
        return total
    # A strip of sums stays in registers for a row of taps; the strips of a tile share its weights.
    part = hl.Var("part")
    update.split(x, x, part, of.strip or of.pixels).reorder(c, part, taps.x, x, taps.y, y)
    update.unroll(part).unroll(y)
    if not of.dilated and of.kernel[1] <= _UNROLLED:
        # Pixels lie a pitch apart, often a power of two, and would share few sets of the cache.
        near.compute_at(total, taps.y).store_in(hl.MemoryType.Stack).vectorize(c, lanes)
        update.unroll(taps.x)
    return total
