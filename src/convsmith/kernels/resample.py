"""Kernels whose windows depend on the place: upsampling, averages without their padding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result

__all__ = ["MANY", "Average", "Upsample"]


@dataclass(frozen=True)
class Upsample(Kernel):
    """Nearest, bilinear or bicubic: place o reads at `max(0, scale·(o + before) - after)`.

    Bicubic reads below 0, too, where the first value is repeated.

    Arguments: x (buffer, ring, row 0), the first output row, rows and pixels of the source, scales
    of rows and pixels, `before`, `after`, y.

    Attributes:
        taps: along each axis: 1, 2 or 4.
    """

    family: ClassVar[str] = "upsample"

    taps: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        numbers = first, height, width = ints("first", "height", "width")
        names = ("down", "right", "before", "after")
        rates = down, right, before, after = [hl.Param(hl.Float(32), name) for name in names]

        def place(index: Any, scale: Any, length: Any) -> tuple[list[Any], list[Any]]:
            """The values along an axis, and the share of each."""
            real = scale * (hl.f32(index) + before) - after
            if self.taps == 4:
                low = hl.floor(real)
                near = (hl.clamp(hl.i32(low) + n, 0, length - 1) for n in (-1, 0, 1, 2))
                return list(near), _cubic(real - low)
            real = hl.max(hl.f32(0), real)
            low = hl.min(hl.i32(hl.floor(real)), length - 1)
            share = hl.clamp(real - hl.f32(low), hl.f32(0), hl.f32(1))
            return [low, hl.min(low + 1, length - 1)], [hl.f32(1) - share, share]

        rows, above = place(y + first, down, height)
        pixels, beside = place(x, right, width)
        out = hl.Func(self.name)

        def row(at: Any) -> Any:
            return _sum(s * source[c, pixel, at] for s, pixel in zip(beside, pixels, strict=True))

        if self.taps == 1:
            value = source[c, pixels[0], rows[0]]
        else:
            value = _sum(share * row(at) for share, at in zip(above, rows, strict=True))
        out[c, x, y] = self.stored(value)
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        return result(out), [*source.arguments, *numbers, *rates]


def _sum(terms: Iterable[Any]) -> Any:
    return reduce(lambda one, other: one + other, terms)


def _cubic(share: Any) -> list[Any]:
    """Keys' weights of four values with a of -3/4, at a share of the way between the middle two."""
    a = _KEYS

    def near(x: Any) -> Any:
        return ((hl.f32(a + 2) * x - hl.f32(a + 3)) * x) * x + hl.f32(1)

    def far(x: Any) -> Any:
        return ((hl.f32(a) * x - hl.f32(5 * a)) * x + hl.f32(8 * a)) * x - hl.f32(4 * a)

    other = hl.f32(1) - share
    return [far(share + hl.f32(1)), near(share), near(other), far(other + hl.f32(1))]


_KEYS = -0.75

MANY = 1024
"""Values of a window above which rows are summed by themselves first: one sum would round each
value at the size of all before it."""


@dataclass(frozen=True)
class Average(Kernel):
    """The mean of the values of each window that are not padding; the padding holds zeros.

    Arguments: x (buffer, ring, row), the first output row, rows and pixels of the source, padding
    above and to the left, y.
    """

    family: ClassVar[str] = "average"

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        numbers = ints("first", "height", "width", "top", "left")
        first, height, width, top, left = numbers
        total, line = hl.Func("total"), hl.Func("line")
        by_lines = prod(self.kernel) > MANY
        if by_lines:
            across, row = hl.RDom([(0, self.kernel[1])], "across"), hl.Var("row")
            taps = hl.RDom([(0, self.kernel[0])], "taps")
            place = x * self.stride[1] + across.x, y * self.stride[0] + row
            line[c, x, y, row] += source[c, place[0], place[1]]
            total[c, x, y] += line[c, x, y, taps.x]
        else:
            taps = hl.RDom([(0, self.kernel[1]), (0, self.kernel[0])], "taps")
            place = x * self.stride[1] + taps.x, y * self.stride[0] + taps.y
            total[c, x, y] += source[c, place[0], place[1]]

        def count(start: Any, taps: int, length: Any) -> Any:
            return hl.min(start + taps, length) - hl.max(start, 0)

        rows = count((y + first) * self.stride[0] - top, self.kernel[0], height)
        pixels = count(x * self.stride[1] - left, self.kernel[1], width)
        out = hl.Func(self.name)
        out[c, x, y] = self.stored(total[c, x, y] / hl.f32(rows * pixels))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        total.compute_at(out, block).vectorize(c, isa.lanes)
        if by_lines:
            total.update().reorder(c, taps.x)
            line.compute_at(total, taps.x).vectorize(c, isa.lanes)
            line.update().vectorize(c, isa.lanes)
        total.update().vectorize(c, isa.lanes)
        return result(out), [*source.arguments, *numbers]
