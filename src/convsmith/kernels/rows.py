"""Kernels that move or reduce rows: in, out, sums, scales, maxima."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.epilogue import BARE, Epilogue
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, is_nan, result, vector

__all__ = [
    "COMBINATIONS",
    "AlongChannels",
    "Combine",
    "Copy",
    "MaxPool",
    "Pack",
    "RowSum",
    "Scale",
    "Shuffle",
    "Strided",
    "Unpack",
    "larger",
]


@dataclass(frozen=True)
class Pack(Kernel):
    """Rows of a tensor into a map, channels innermost. Arguments: tensor (c, x, y), y.

    Attributes:
        channels: of a map with few of them, which are written at once; 0 for any number.
        planar: whether the pixels of a row are neighbours in the tensor, else its channels are.
        even: whether a channel of zeros makes their number even.
    """

    family: ClassVar[str] = "pack"

    channels: int
    planar: bool
    even: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        tensor = hl.ImageParam(hl.Float(32), 3, "tensor")
        _strides(tensor, 1 if self.planar else 0)
        out = hl.Func(self.name)
        value = tensor[c, x, y]
        if self.even:
            given = tensor[hl.min(c, self.channels - 1), x, y]
            value = hl.select(c < self.channels, given, hl.f32(0))
        out[c, x, y] = self.stored(value)
        if self.channels and (self.planar or self.even):
            lane, room = hl.Var("lane"), self.channels + self.even
            out.bound(c, 0, room).split(x, x, lane, isa.lanes, hl.TailStrategy.GuardWithIf)
            out.reorder(c, lane, x, y).unroll(c).vectorize(lane)
            out.output_buffer().dim(0).set_extent(room)
            out.output_buffer().dim(1).set_stride(room)
        else:
            # Planes that lie a power of two apart share a set of the first cache: eight fit.
            _transpose(out, c, x, y, min(isa.lanes, 8) if self.planar else isa.lanes)
        return result(out), [tensor]


@dataclass(frozen=True)
class Unpack(Kernel):
    """Rows of a map into a tensor. Arguments: x (buffer, ring, row), tensor.

    The tensor's dimensions are (x, c, y) where it is planar, else (c, x, y).
    """

    family: ClassVar[str] = "unpack"

    planar: bool

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        out = hl.Func(self.name)
        first, second = (x, c) if self.planar else (c, x)
        out[first, second, y] = source[c, x, y]
        io, oo = _transpose(out, first, second, y, isa.lanes)
        if self.planar:
            out.reorder(io, oo)  # a plane's row is written through before the next one's
        return result(out), source.arguments


@dataclass(frozen=True)
class Copy(Kernel):
    """Rows of a map into some channels of another. Arguments: x (buffer, ring, row), y.

    Channels beyond those of the output are left as they are: they belong to other parts.
    """

    family: ClassVar[str] = "copy"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        out = hl.Func(self.name)
        same = self.numbers.source == self.numbers.target
        place = c, x, y
        out[place] = source.raw(place) if same else self.stored(source[place])
        out.vectorize(c, isa.lanes, hl.TailStrategy.GuardWithIf)
        return result(out), source.arguments


@dataclass(frozen=True)
class Strided(Kernel):
    """Every few rows and pixels of a map. Arguments: x (buffer, ring, row), steps of both, y."""

    family: ClassVar[str] = "strided"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, (down, across) = Rows("x", self.numbers.source), ints("down", "across")
        out = hl.Func(self.name)
        same = self.numbers.source == self.numbers.target
        place = c, x * across, y * down
        out[c, x, y] = source.raw(place) if same else self.stored(source[place])
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.GuardWithIf).vectorize(lane)
        return result(out), [*source.arguments, down, across]


@dataclass(frozen=True)
class Shuffle(Kernel):
    """Rows of a map, channels interleaved. Arguments: x (buffer, ring, row), each, y.

    A group has `each` channels; channel j·groups + i is channel i·each + j of the source. As in
    `Copy`, there are no others.
    """

    family: ClassVar[str] = "shuffle"

    groups: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        (each,) = ints("each")
        out = hl.Func(self.name)
        place = c % self.groups * each + c // self.groups, x, y
        same = self.numbers.source == self.numbers.target
        out[c, x, y] = source.raw(place) if same else self.stored(source[place])
        group = hl.Var("group")
        out.split(c, c, group, self.groups, hl.TailStrategy.GuardWithIf)
        out.reorder(group, c, x, y).unroll(group)
        out.vectorize(c, isa.lanes, hl.TailStrategy.GuardWithIf)
        return result(out), [*source.arguments, each]


_NEAR = 16
"""Pixels whose sum is made in single precision: as many as a row of most maps has."""


@dataclass(frozen=True)
class RowSum(Kernel):
    """The sum of each row, times a factor.

    Arguments: x (buffer, ring, row), middle, width, factor, y.

    A map's mean is two of these: of its rows, and of the row of their sums. Sums of a few pixels
    are added up in double precision: in single precision the error would grow with the width.

    Attributes:
        squares: whether squares are summed.
        centred: of the values less a number for each channel (`middle`, else no argument).
        root: whether the result is the root of the sum.
    """

    family: ClassVar[str] = "rowsum"

    squares: bool = False
    centred: bool = False
    root: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, middle = Rows("x", self.numbers.source), vector("middle")
        (width,) = ints("width")
        factor = hl.Param(hl.Float(32), "factor")
        few = hl.Func("few")
        group = hl.Var("group")
        near = hl.RDom([(0, _NEAR)], "near")
        near.where(group * _NEAR + near.x < width)
        value = source[c, x + group * _NEAR + near.x, y]
        value = value - middle[c] if self.centred else value
        value = value * value if self.squares else value
        few[c, x, y, group] += value
        far = hl.RDom([(0, (width + _NEAR - 1) // _NEAR)], "far")
        total = hl.Func("total")
        total[c, x, y] += hl.cast(hl.Float(64), few[c, x, y, far.x])
        out = hl.Func(self.name)
        whole = hl.cast(hl.Float(32), total[c, x, y]) * factor
        out[c, x, y] = self.stored(hl.strict_float(hl.sqrt(whole)) if self.root else whole)
        block, lane = hl.Var("block"), hl.Var("lane")
        # Sums of many channels hide each other's latency.
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        total.compute_at(out, block).vectorize(c, isa.lanes)
        total.update().reorder(c, x, y, far.x).vectorize(c, isa.lanes)
        few.compute_at(total, far.x).vectorize(c, isa.lanes)
        few.update().reorder(c, x, y, group, near.x).vectorize(c, isa.lanes)
        extra = [middle] if self.centred else []
        return result(out), [*source.arguments, *extra, width, factor]


@dataclass(frozen=True)
class Scale(Kernel):
    """Each channel times a number of the image.

    Arguments: x (buffer, ring, row), bias, slopes, gate, middle, residual, y.

    Attributes:
        centred: whether another number of the image, `middle`, is subtracted before, and `bias` is
            added after; else neither is an argument.
    """

    family: ClassVar[str] = "scale"

    epilogue: Epilogue = BARE
    centred: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x", self.numbers.source), Rows("residual", self.numbers.residual)
        bias, slope, gate, middle = (vector(n) for n in ("bias", "slope", "gate", "middle"))
        value = source[c, x, y]
        value = (value - middle[c]) * gate[c] + bias[c] if self.centred else value * gate[c]
        out = hl.Func(self.name)
        out[c, x, y] = self.stored(self.epilogue.apply(value, other[c, x, y], slope[c]))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        constants = [*[bias][: self.centred], *[slope][: self.epilogue.learnt]]
        gates = [gate, *[middle][: self.centred]]
        extra = other.arguments if self.epilogue.residual else []
        return result(out), [*source.arguments, *constants, *gates, *extra]


@dataclass(frozen=True)
class AlongChannels(Kernel):
    """A window slides over the channels of each pixel, with zeros beyond their ends.

    Arguments: x (buffer, ring, row), channels, bias, weight, y. As in `Copy`, there are no others.

    Attributes:
        taps: of the window, an odd number.
    """

    family: ClassVar[str] = "alongchannels"

    taps: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, weight = Rows("x"), vector("weight")
        (channels,), bias = ints("channels"), hl.Param(hl.Float(32), "bias")
        tap = hl.RDom([(0, self.taps)], "tap")
        place = c + tap.x - self.taps // 2
        tap.where((place >= 0) & (place < channels))
        total, out = hl.Func("total"), hl.Func(self.name)
        total[c, x, y] = bias
        total[c, x, y] += weight[tap.x] * source[place, x, y]
        out[c, x, y] = total[c, x, y]
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.GuardWithIf).vectorize(lane)
        total.compute_at(out, block).bound_extent(c, isa.lanes).vectorize(c, isa.lanes)
        total.update().vectorize(c, isa.lanes)
        return result(out), [*source.arguments, channels, bias, weight]


def larger(one: Any, other: Any) -> Any:
    """The larger one of two values, or NaN."""
    return hl.strict_float(hl.select((one > other) | is_nan(one), one, other))


def smaller(one: Any, other: Any) -> Any:
    """The smaller one of two values, or NaN."""
    return hl.strict_float(hl.select((one < other) | is_nan(one), one, other))


COMBINATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda one, other: one + other,
    "div": lambda one, other: hl.strict_float(one / other),
    "max": larger,
    "maximum": larger,
    "min": smaller,
    "minimum": smaller,
    "mul": lambda one, other: one * other,
    "sub": lambda one, other: one - other,
}
"""What kernels make of the values of two maps, by the name in `torch.ops.aten`."""


@dataclass(frozen=True)
class Combine(Kernel):
    """The values of two maps, combined.

    Arguments: x, other (buffer, ring, row each), y. Of the other map, where it is a `pixel`, there
    is the buffer alone: a number for each channel.

    Attributes:
        operation: a key of `COMBINATIONS`.
        single: whether the other map has one channel, for all of the first.
        pixel: whether it has one pixel, for all of the first.
        turned: whether it comes first in the operation.
    """

    family: ClassVar[str] = "combine"

    operation: str
    single: bool = False
    pixel: bool = False
    turned: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, other = Rows("x", self.numbers.source), Rows("other", self.numbers.residual)
        gate, out = vector("gate"), hl.Func(self.name)
        channel = hl.Expr(0) if self.single else c
        both = source[c, x, y], gate[channel] if self.pixel else other[channel, x, y]
        combine = COMBINATIONS[self.operation]
        out[c, x, y] = self.stored(combine(*(both[::-1] if self.turned else both)))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        more = [gate] if self.pixel else other.arguments
        return result(out), [*source.arguments, *more]


@dataclass(frozen=True)
class MaxPool(Kernel):
    """The largest value of each window, or NaN. Arguments: x (buffer, ring, row), dy, dx, y.

    Attributes:
        pixels: computed at once, for each comparison waits for the one before it.
    """

    family: ClassVar[str] = "maxpool"

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pixels: int = 1

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source = Rows("x", self.numbers.source)
        dy, dx = ints("dy", "dx")
        taps = hl.RDom([(0, self.kernel[1]), (0, self.kernel[0])], "taps")
        most, out = hl.Func("most"), hl.Func(self.name)

        def size(value: Any) -> Any:
            return hl.reinterpret(hl.Int(32), value) & hl.i32(_SIZE)

        # A NaN is found by its bits: to compare twice for each value takes longer than all else.
        first = source[c, x * self.stride[1], y * self.stride[0]]
        most[c, x, y] = hl.Tuple((first, size(first)))
        value = source[c, x * self.stride[1] + taps.x * dx, y * self.stride[0] + taps.y * dy]
        known, bits = most[c, x, y][0], most[c, x, y][1]
        largest = hl.strict_float(hl.select(value > known, value, known))
        most[c, x, y] = hl.Tuple((largest, hl.max(bits, size(value))))
        nan = hl.reinterpret(hl.Float(32), most[c, x, y][1])
        found = hl.select(most[c, x, y][1] > hl.i32(_INFINITY), nan, most[c, x, y][0])
        out[c, x, y] = self.stored(hl.strict_float(found))
        block, lane, tile, pixel = (hl.Var(name) for name in ("block", "lane", "tile", "pixel"))
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        out.split(x, tile, pixel, self.pixels, hl.TailStrategy.ShiftInwards)
        out.reorder(lane, pixel, block, tile, y).unroll(pixel)
        most.compute_at(out, block).vectorize(c, isa.lanes).unroll(x)
        most.update().reorder(c, x, y, taps.x, taps.y).vectorize(c, isa.lanes).unroll(x)
        return result(out), [*source.arguments, dy, dx]


_SIZE, _INFINITY = 0x7FFFFFFF, 0x7F800000
"""All bits of a number but its sign, and those of infinity; larger ones are NaN."""


def _transpose(out: Any, inner: Any, outer: Any, y: Any, lanes: int) -> tuple[Any, Any]:
    """Go through two axes in squares, so that both sides are read and written by cache lines.

    Gives the loops over squares: along the inner axis, which is the outer one, and the outer axis.
    """
    guard = hl.TailStrategy.GuardWithIf
    io, ii, oo, oi = (hl.Var(name) for name in ("io", "ii", "oo", "oi"))
    out.split(inner, io, ii, lanes, guard).split(outer, oo, oi, 16, guard)
    out.reorder(ii, oi, oo, io, y).vectorize(ii)
    return io, oo


def _strides(buffer: Any, dense: int) -> None:
    for axis in range(3):
        buffer.dim(axis).set_min(0)
    buffer.dim(0).set_stride(hl.Expr())
    buffer.dim(dense).set_stride(1)
