"""Statistics of the channels of each pixel: in the lanes of a vector first, then across these.

Several pixels are computed at once: each step across the lanes waits for the one before it, and
those of other pixels fill the time. Functions have the variables `x` and `y`, as kernels do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import halide as hl

__all__ = ["by_halves", "by_pixels", "channel_sum", "fold", "vectors_of", "within"]


def by_pixels(out: Any, pixels: int) -> Any:
    """Schedule an output for so many pixels at once; give back the loop of those of a tile.

    The last tile of a row is moved inwards. What is computed at the loop `x` is for a tile.
    """
    x, pixel = hl.Var("x"), hl.Var("pixel")
    out.split(x, x, pixel, pixels, hl.TailStrategy.ShiftInwards).unroll(pixel)
    return pixel


def fold(
    name: str,
    out: Any,
    combine: Callable[[Any, Any], Any],
    first: Any,
    vectors: tuple[Any, int],
    value: Callable[[Any], Any],
    unroll: bool = False,
) -> Any:
    """What is made of all channels that meet in a lane, for the pixels of a tile of an output.

    Args:
        name: of the function that is given back, of a lane, a pixel and a row.
        out: the output, whose tiles are the loop `x`.
        combine: what is made of the values so far and one more; of tuples, where `first` is one.
        first: what it begins with.
        vectors: how many there are, and the lanes of one.
        value: that of a channel.
        unroll: whether all vectors are computed without a loop.
    """
    lane, x, y = hl.Var("lane"), hl.Var("x"), hl.Var("y")
    count, lanes = vectors
    k = hl.RDom([(0, count)], f"{name}_vectors")
    folded = hl.Func(name)
    folded[lane, x, y] = first
    folded[lane, x, y] = combine(folded[lane, x, y], value(k.x * lanes + lane))
    folded.compute_at(out, x).vectorize(lane, lanes).unroll(x)
    update = folded.update().reorder(lane, x, k.x).vectorize(lane, lanes).unroll(x)
    if unroll:
        update.unroll(k.x)
    return folded


def vectors_of(channels: Any, lanes: int) -> tuple[Any, int]:
    """How many vectors channels fill, the last one perhaps in part, and the lanes of one."""
    return (channels + lanes - 1) // lanes, lanes


def within(channel: Any, channels: Any, value: Any, other: Any) -> Any:
    """The value of a channel, or another one beyond the last channel."""
    # A choice, and no condition of the loop: that would be one for each lane.
    return hl.select(channel < channels, value, other)


def channel_sum(name: str, out: Any, channels: Any, lanes: int, value: Callable[[Any], Any]) -> Any:
    """The sum of a value of each channel, for the pixels of a tile of an output.

    Args:
        name: of the function.
        out: the output, whose tiles are the loop `x`.
        channels: how many there are.
        lanes: of a vector.
        value: that of a channel; what it gives for one beyond the last is left out.
    """
    x, y = hl.Var("x"), hl.Var("y")
    total, across = hl.Func(name), hl.RDom([(0, lanes)], f"{name}_across")

    def inside(channel: Any) -> Any:
        return within(channel, channels, value(channel), hl.f32(0))

    vectors = vectors_of(channels, lanes)
    folded = fold(f"{name}_lanes", out, lambda a, b: a + b, hl.f32(0), vectors, inside)
    total[x, y] += folded[across.x, x, y]
    total.compute_at(out, x).unroll(x)
    total.update().reorder(across.x, x).unroll(x).atomic().vectorize(across.x)
    return total[x, y]


def by_halves(values: Any, out: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> Any:
    """What is made of all lanes of a function of a lane, a pixel and a row: half of them at a time.

    Args:
        values: the function.
        out: the output, whose tiles are the loop `x`.
        lanes: how many it has, a power of two.
        combine: what is made of two values.
    """
    lane, x, y = hl.Var("lane"), hl.Var("x"), hl.Var("y")
    while lanes > 1:
        lanes //= 2
        half = hl.Func(f"{values.name()}_{lanes}")
        pair = hl.Expr(values[lane, x, y]), hl.Expr(values[lane + lanes, x, y])
        half[lane, x, y] = combine(*pair)
        half.compute_at(out, x).unroll(x)
        if lanes > 1:
            half.vectorize(lane, lanes)
        values = half
    return values[0, x, y]
