"""What each operation reads: from a product of output positions back to those of its operands.

One rule a family. Products span all dimensions of a tensor, channels too, so that groups, splits
and shuffles stay exact. Positions may lie outside the tensor, in its padding: whoever walks clips
them, or, on a map without borders, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import floor
from typing import Any

from convsmith.arithmetic import Box, Conv, ConvTranspose, Pool, Positions
from convsmith.arithmetic.window import source_index
from convsmith.network.network import Layer
from convsmith.network.shapes import reshaped, whole

__all__ = ["Reads", "reads"]

Reads = Iterator[tuple[int, Box]]
"""Operands by number, each with a product of its positions; one operand may come several times."""


def reads(layer: Layer, box: Box, result: int = 0, *, bounded: bool = True) -> Reads:
    """What one layer reads of its operands to compute the positions in `box`.

    Args:
        layer: any layer of a network.
        box: positions of its result, one set a dimension of that tensor.
        result: which of its results, where it has several.
        bounded: whether the map has borders. Without, interpolation and padding by reflection are
            taken as they are far from any border.

    Yields:
        The number of an operand and a product of its positions, not clipped. An operation without
        a rule reads everything, which is an upper bound.
    """
    rule = _RULES.get(layer.kind, _everything)
    return rule(layer, box, result, bounded)


def _everything(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    for number, operand in enumerate(layer.operands):
        yield number, whole(operand.shape)


def _nothing(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    return iter(())


def _broadcast(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The same place of every operand; a dimension of length 1 serves all."""
    shape = layer.results[result].shape
    for number, operand in enumerate(layer.operands):
        place = box[len(box) - len(operand.shape) :]
        lengths = zip(operand.shape, shape[len(shape) - len(operand.shape) :], strict=True)
        yield (
            number,
            tuple(
                Positions.of([0]) if mine == 1 and all_ != 1 else positions
                for (mine, all_), positions in zip(lengths, place, strict=True)
            ),
        )


def _activation(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    if layer.operation.name != "glu":
        yield 0, box
        return
    dim = _dim(layer, "dim")
    half = layer.shape[dim]
    yield 0, _with(box, dim, box[dim] | box[dim].shift(half))


def _first(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 0, box


def _convolution(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    spec = layer.operation.arithmetic
    assert isinstance(spec, (Conv, ConvTranspose))
    at = len(box) - spec.dims - 1
    groups = _blocks(box[at], spec.out_channels // spec.groups)
    step = spec.in_channels // spec.groups
    channels = groups.scale(step).spread(step, 1)
    space = tuple(spec.reads(axis, box[at + 1 + axis]) for axis in range(spec.dims))
    yield 0, (*box[:at], channels, *space)
    for number in range(1, len(layer.operands)):  # weights that are computed are read whole
        yield number, whole(layer.operands[number].shape)


def _pool(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    spec = layer.operation.arithmetic
    assert isinstance(spec, Pool)
    at = len(box) - spec.dims
    yield 0, (*box[:at], *(spec.reads(axis, box[at + axis]) for axis in range(spec.dims)))


def _adaptive_pool(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dims = int(layer.operation.name[-2])
    at = len(box) - dims
    axes = []
    for positions, n, w in zip(
        box[at:], layer.operands[0].shape[at:], layer.shape[at:], strict=True
    ):
        seen = Positions()
        for i in positions:
            seen |= Positions.range(i * n // w, -(-(i + 1) * n // w))
        axes.append(seen)
    yield 0, (*box[:at], *axes)


def _linear(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    number = 1 if layer.operation.name == "addmm" else 0
    for other in range(len(layer.operands)):
        shape = layer.operands[other].shape
        if other == number:
            yield other, (*box[:-1], Positions.range(0, shape[-1]))
        else:
            yield other, whole(shape)


def _matmul(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Rows of the left and columns of the right, along the whole axis that is summed."""
    name = layer.operation.name
    if name not in ("bmm", "matmul", "mm", "baddbmm") or len(box) < 2:
        yield from _everything(layer, box, result, bounded)
        return
    first = 1 if name == "baddbmm" else 0
    if first:
        yield 0, whole(layer.operands[0].shape)
    left, right = layer.operands[first].shape, layer.operands[first + 1].shape
    if min(len(left), len(right)) < 2:
        yield from _everything(layer, box, result, bounded)
        return
    summed = Positions.range(0, left[-1])
    for number, shape, last in (
        (first, left, (box[-2], summed)), (first + 1, right, (summed, box[-1])),
    ):  # fmt: skip
        batch = box[len(box) - len(shape) : -2]
        yield number, (*(_serve(p, n) for p, n in zip(batch, shape, strict=False)), *last)


def _attention(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    query, key, value = (operand.shape for operand in layer.operands[:3])
    heads = box[:-2]
    yield 0, (*heads, box[-2], Positions.range(0, query[-1]))
    yield 1, (*(_serve(p, n) for p, n in zip(heads, key, strict=False)), *whole(key[-2:]))
    keys = Positions.range(0, value[-2])
    yield 2, (*(_serve(p, n) for p, n in zip(heads, value, strict=False)), keys, box[-1])


def _norm(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """Everything that the statistics are taken over."""
    shape, name = layer.operands[0].shape, layer.operation.name
    full = whole(shape)
    if "layer_norm" in name or "rms" in name:
        normalised = len(layer.operation.settings["normalized_shape"])
        yield 0, (*box[:-normalised], *full[-normalised:])
    elif "group_norm" in name:
        groups = layer.operation.settings[
            "num_groups" if "num_groups" in layer.operation.settings else "group"
        ]
        width = shape[1] // groups
        channels = _blocks(box[1], width).scale(width).spread(width, 1)
        yield 0, (box[0], channels, *full[2:])
    elif "instance_norm" in name:
        yield 0, (*box[:2], *full[2:])
    else:
        yield from _everything(layer, box, result, bounded)


def _softmax(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = _dim(layer, "dim")
    yield 0, _with(box, dim, Positions.range(0, layer.shape[dim]))


def _reduction(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    settings = layer.operation.settings
    dims = settings.get("dim")
    chosen = list(range(len(shape))) if dims is None or dims == [] else dims
    over = {d % len(shape) for d in ([chosen] if isinstance(chosen, int) else chosen)}
    if layer.operation.name == "cumsum":
        (dim,) = over
        yield 0, _with(box, dim, Positions.range(0, box[dim].stop))
        return
    left = list(box)
    if len(box) == len(shape) and settings.get("keepdim"):
        left = [p for d, p in enumerate(box) if d not in over]
    yield 0, tuple(Positions.range(0, n) if d in over else left.pop(0) for d, n in enumerate(shape))


def _concat(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    name = layer.operation.name
    if name not in ("cat", "concat", "concatenate", "stack"):
        yield from _everything(layer, box, result, bounded)
        return
    dim, offset = _dim(layer, "dim"), 0
    for number, operand in enumerate(layer.operands):
        if name == "stack":
            if number in box[dim]:
                yield number, (*box[:dim], *box[dim + 1 :])
            continue
        if len(operand.shape) != len(box):
            continue  # torch lets an empty list-like tensor stand among the others
        length = operand.shape[dim]
        yield number, _with(box, dim, box[dim].clip(offset, offset + length).shift(-offset))
        offset += length


def _reshape(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    for part in reshaped(box, layer.operands[0].shape, layer.shape):
        yield 0, part


def _permute(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    order = permutation(layer)
    found = list(box)
    for place, source in enumerate(order):
        found[source] = box[place]
    yield 0, tuple(found)


def permutation(layer: Layer) -> list[int]:
    """For each dimension of the result of a permutation, which one of the operand it is."""
    dims, settings = len(layer.shape), layer.operation.settings
    order = list(range(dims))
    if layer.operation.name == "permute":
        return [d % dims for d in settings["dims"]]
    if layer.operation.name == "movedim":
        sources = [d % dims for d in _list(settings["source"])]
        targets = [d % dims for d in _list(settings["destination"])]
        rest = iter(d for d in order if d not in sources)
        where = dict(zip(targets, sources, strict=True))
        return [where[d] if d in where else next(rest) for d in order]
    if dims < 2:
        return order
    a, b = (
        settings.get("dim0", settings.get("axis0", 0)),
        settings.get("dim1", settings.get("axis1", 1)),
    )
    order[a], order[b] = order[b], order[a]
    return order


def _slice(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim, settings = _dim(layer, "dim", of=len(layer.operands[0].shape)), layer.operation.settings
    length = layer.operands[0].shape[dim]
    if layer.operation.name == "select":
        index = settings["index"] % length
        yield 0, (*box[:dim], Positions.of([index]), *box[dim:])
        return
    start = settings.get("start") or 0
    start = max(0, start + length) if start < 0 else min(start, length)
    yield 0, _with(box, dim, box[dim].scale(settings.get("step", 1)).shift(start))


def _split(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dim = _dim(layer, "dim", of=len(layer.operands[0].shape))
    if layer.operation.name == "unbind":
        yield 0, (*box[:dim], Positions.of([result]), *box[dim:])
        return
    offset = sum(part.shape[dim] for part in layer.results[:result])
    yield 0, _with(box, dim, box[dim].shift(offset))


def _expand(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape = layer.operands[0].shape
    place = box[len(box) - len(shape) :]
    if layer.operation.name in ("repeat", "tile"):
        yield (
            0,
            tuple(
                Positions.of(p % n for p in positions)
                for positions, n in zip(place, shape, strict=True)
            ),
        )
    elif layer.operation.name == "repeat_interleave":
        yield from _everything(layer, box, result, bounded)
    else:
        yield 0, tuple(_serve(p, n) for p, n in zip(place, shape, strict=True))


def _pad(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    settings, name = layer.operation.settings, layer.operation.name
    sides = settings.get("pad", settings.get("padding"))
    mode = settings.get("mode", "reflect" if "reflection" in name else "constant")
    mode = "replicate" if "replication" in name else mode
    shape, axes = layer.operands[0].shape, list(box)
    for i in range(len(sides) // 2):
        dim = len(box) - 1 - i
        moved = axes[dim].shift(-sides[2 * i])
        if bounded and mode != "constant":
            found = (source_index(p, shape[dim], mode) for p in moved)
            moved = Positions.of(p for p in found if p is not None)
        axes[dim] = moved
    yield 0, tuple(axes)


def _upsample(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    """The neighbours that interpolation gives a weight: one, two or four an axis."""
    name, settings = layer.operation.name, layer.operation.settings
    dims = len(box) - 2
    factors = settings.get("scale_factors") or [None] * dims
    axes = []
    for axis in range(dims):
        n, m = layer.operands[0].shape[2 + axis], layer.shape[2 + axis]
        factor = factors[axis]
        step = Fraction(n, m) if factor is None else 1 / Fraction(factor).limit_denominator(10**6)
        seen: set[int] = set()
        for o in box[2 + axis]:
            seen.update(_neighbours(name, settings, o, n, m, step, bounded))
        axes.append(Positions.of(seen))
    yield 0, (*box[:2], *axes)


def _neighbours(
    name: str, settings: Any, o: int, n: int, m: int, step: Fraction, bounded: bool
) -> list[int]:
    if "nearest" in name:
        place = step * (o + (Fraction(1, 2) if "exact" in name else 0))
        found = [floor(place)]
    elif settings.get("align_corners"):
        found = _taps(name, Fraction(o * (n - 1), m - 1) if m > 1 else Fraction(0))
    else:
        place = step * (o + Fraction(1, 2)) - Fraction(1, 2)
        if bounded and "cubic" not in name:
            place = max(place, Fraction(0))
        found = _taps(name, place)
    return [min(max(p, 0), n - 1) for p in found] if bounded else found


def _taps(name: str, place: Fraction) -> list[int]:
    low = floor(place)
    if place == low:
        return [low]
    return [low - 1, low, low + 1, low + 2] if "cubic" in name else [low, low + 1]


def _channel_shuffle(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    groups, channels = layer.operation.settings["groups"], layer.shape[1]
    each = channels // groups
    # Channel c of the result is member c // groups of group c mod groups.
    place = Positions.of({(c % groups) * each + c // groups for c in box[1]})
    yield 0, (box[0], place, *box[2:])


def _pixel_shuffle(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    r = layer.operation.settings["upscale_factor"]
    *batch, channels, rows, columns = box
    for i in range(r):
        for j in range(r):
            place = channels.scale(r * r).shift(i * r + j)
            yield 0, (*batch, place, rows.shift(-i).divide(r), columns.shift(-j).divide(r))


def _pixel_unshuffle(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    r = layer.operation.settings["downscale_factor"]
    *batch, channels, rows, columns = box
    for i in range(r):
        for j in range(r):
            place = channels.shift(-(i * r + j)).divide(r * r)
            yield 0, (*batch, place, rows.scale(r).shift(i), columns.scale(r).shift(j))


def _roll(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    shape, settings = layer.shape, layer.operation.settings
    axes = list(box)
    dims = settings["dims"]
    if not dims:
        yield from _everything(layer, box, result, bounded)
        return
    for i, dim in enumerate(dims):
        n = shape[dim]
        by = settings["shifts"][i] if layer.operation.name == "roll" else None
        axes[dim] = Positions.of((p - by) % n if by is not None else n - 1 - p for p in axes[dim])
    yield 0, tuple(axes)


def _embedding(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    yield 0, whole(layer.operands[0].shape)
    if len(layer.operands) > 1:
        yield 1, box[:-1]


def _list(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _blocks(channels: Positions, width: int) -> Positions:
    """Which blocks of `width` channels hold some of the given ones."""
    if width == 1:
        return channels
    return Positions.of({channel // width for channel in channels})


def _serve(positions: Positions, length: int) -> Positions:
    return Positions.of([0]) if length == 1 else positions


def _with(box: Box, dim: int, positions: Positions) -> Box:
    return (*box[:dim], positions, *box[dim + 1 :])


def _dim(layer: Layer, name: str, of: int | None = None) -> int:
    dims = len(layer.results[0].shape) if of is None else of
    dim: int = layer.operation.settings.get(name, 0)
    return dim % dims if dims else 0


_RULES: dict[str, Callable[[Layer, Box, int, bool], Reads]] = {
    "activation": _activation,
    "adaptive pool": _adaptive_pool,
    "attention": _attention,
    "batch norm": _first,
    "concat": _concat,
    "convolution": _convolution,
    "creation": _nothing,
    "elementwise": _broadcast,
    "embedding": _embedding,
    "expand": _expand,
    "identity": _first,
    "input": _nothing,
    "linear": _linear,
    "matmul": _matmul,
    "norm": _norm,
    "pad": _pad,
    "permute": _permute,
    "channel shuffle": _channel_shuffle,
    "pixel shuffle": _pixel_shuffle,
    "pixel unshuffle": _pixel_unshuffle,
    "pool": _pool,
    "reduction": _reduction,
    "reshape": _reshape,
    "roll": _roll,
    "slice": _slice,
    "softmax": _softmax,
    "split": _split,
    "transposed convolution": _convolution,
    "upsample": _upsample,
}
HAS_RULE = frozenset(_RULES)
