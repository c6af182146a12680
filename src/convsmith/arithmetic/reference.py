"""The slow, obviously right evaluation: plain loops over plain lists, in any number type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import inf, prod
from typing import Any

from convsmith.arithmetic.convolution import Conv
from convsmith.arithmetic.pool import Pool
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.arithmetic.window import source_index
from convsmith.errors import ArgumentError

__all__ = ["evaluate"]

Position = tuple[int, ...]


def evaluate(
    layer: Conv | ConvTranspose | Pool, image: Any, weight: Any = None, bias: Any = None
) -> Any:
    """Evaluate a layer on one image by its definition, one multiplication at a time.

    Args:
        layer: what slides.
        image: nested lists or an array shaped (channels, *spatial), or (*spatial) for one channel.
        weight: shaped as `layer.weight_shape`, or just (*kernel_size) when both sides have one
            channel; a pool takes none.
        bias: one number per output channel, or nothing.

    Returns:
        Nested lists shaped (channels, *spatial), or (*spatial) if the image came without channels
        and one channel comes out. Integers stay integers, fractions stay fractions.

    Raises:
        ArgumentError: for shapes that do not fit the layer.

    >>> image = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
    >>> evaluate(Conv(1, 1, 2, padding="same", bias=False), image, [[1, 0], [2, 1]])
    [[16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]]
    """
    image, weight, bias = _plain(image), _plain(weight), _plain(bias)
    plane = len(_shape(image)) == layer.dims
    maps = [image] if plane else image
    shape = _shape(maps)
    if len(shape) != layer.dims + 1:
        raise ArgumentError(
            f"an image for {layer!r} has {layer.dims + 1} axes, not {_shape(image)}"
        )
    size = shape[1:]
    out_channels, *out_size = layer.output_shape((1, *shape))[1:]
    if isinstance(layer, Pool):
        value = _pooled(layer, maps, size)
    else:
        if weight is not None and layer.in_channels == layer.out_channels == 1:
            weight = [[weight]] if len(_shape(weight)) == layer.dims else weight
        if weight is None or _shape(weight) != layer.weight_shape:
            raise ArgumentError(f"weight must be shaped {layer.weight_shape}, not {_shape(weight)}")
        if bias is not None and _shape(bias) != (out_channels,):
            raise ArgumentError(f"bias must have {out_channels} numbers, not {_shape(bias)}")
        biases = bias or [0] * out_channels
        value = (
            _stamped(layer, maps, weight, biases, out_size)
            if isinstance(layer, ConvTranspose)
            else _slid(layer, maps, weight, biases)
        )
    outputs = [_nested(out_size, partial(value, o)) for o in range(out_channels)]
    return outputs[0] if plane and out_channels == 1 else outputs


def _slid(layer: Conv, maps: Any, weight: Any, bias: Any) -> Callable[[int, Position], Any]:
    """The value at a position: the kernel over the image there, all slices summed."""
    size = _shape(maps)[1:]
    slices = layer.in_channels // layer.groups

    def value(o: int, at: Position) -> Any:
        group = o // (layer.out_channels // layer.groups)
        total = bias[o]
        for i, tap in product(range(slices), _grid(layer.kernel_size)):
            places = [
                source_index(p * w.stride - w.padding[0] + t * w.dilation, n, layer.padding_mode)
                for p, t, w, n in zip(at, tap, layer.windows, size, strict=True)
            ]
            if None not in places:
                total += _pick(weight[o][i], tap) * _pick(maps[group * slices + i], places)
        return total

    return value


def _stamped(
    layer: ConvTranspose, maps: Any, weight: Any, bias: Any, out_size: Sequence[int]
) -> Callable[[int, Position], Any]:
    """Every input value stamps its multiple of the kernel; overlapping stamps add up."""
    totals = {(o, at): bias[o] for o in range(layer.out_channels) for at in _grid(out_size)}
    slices = layer.out_channels // layer.groups
    for i, at in product(range(layer.in_channels), _grid(_shape(maps)[1:])):
        group = i // (layer.in_channels // layer.groups)
        for o, tap in product(range(slices), _grid(layer.kernel_size)):
            place = tuple(
                p * w.stride - w.padding[0] + t * w.dilation
                for p, t, w in zip(at, tap, layer.windows, strict=True)
            )
            key = (group * slices + o, place)
            if key in totals:
                totals[key] += _pick(maps[i], at) * _pick(weight[i][o], tap)
    return lambda o, at: totals[o, at]


def _pooled(layer: Pool, maps: Any, size: Sequence[int]) -> Callable[[int, Position], Any]:
    """The largest value, or the mean, of the real positions under the window."""

    def value(channel: int, at: Position) -> Any:
        axes = [
            [p * w.stride - w.padding[0] + t * w.dilation for t in range(w.kernel)]
            for p, w in zip(at, layer.windows, strict=True)
        ]
        real = [
            [place for place in places if 0 <= place < n]
            for places, n in zip(axes, size, strict=True)
        ]
        values = [_pick(maps[channel], place) for place in product(*real)]
        if layer.kind == "max":
            # Dilated taps can miss a short map altogether; what is left is the padding, -∞.
            return max(values, default=-inf)
        # In ceil mode a window may run past the padding itself: what lies there is not counted.
        counted = [
            [place for place in places if place < n + w.padding[1]]
            for places, n, w in zip(axes, size, layer.windows, strict=True)
        ]
        return sum(values) / prod(map(len, counted if layer.count_include_pad else real))

    return value


def _plain(values: Any) -> Any:
    return values.tolist() if hasattr(values, "tolist") else values


def _shape(values: Any) -> tuple[int, ...]:
    return (len(values), *_shape(values[0])) if isinstance(values, Sequence) and values else ()


def _grid(size: Iterable[int]) -> Iterable[Position]:
    return product(*map(range, size))


def _pick(values: Any, at: Iterable[int | None]) -> Any:
    for index in at:
        values = values[index]
    return values


def _nested(size: Sequence[int], value: Callable[[Position], Any], at: Position = ()) -> Any:
    if len(at) == len(size):
        return value(at)
    return [_nested(size, value, (*at, index)) for index in range(size[len(at)])]
