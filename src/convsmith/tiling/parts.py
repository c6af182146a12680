"""The parts of an image that compiled tiles run on, what they hold in memory, and the best tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import ceil, lcm, prod

from convsmith.errors import ArgumentError
from convsmith.machine import usable_processors
from convsmith.network.backward import strides
from convsmith.tiling.budget import LARGEST, SMALLEST, even, output_size, tile_spans
from convsmith.tiling.ranges import ranges
from convsmith.tiling.spans import Span
from convsmith.tiling.survey import Survey

__all__ = ["SLAB", "best_part", "compiled_peak", "part_of", "part_size"]

_WIDEST = 16
"""Positions of a row that a kernel computes at once, at most: a part is as long at every layer, so
that it can use the kernels of the whole image."""

SLAB = 256
"""Rows of an image that are read at once, at least."""

_FIXED = 32 << 20
"""Bytes for windows, weights and kernels."""

_RINGS = 64 << 20
"""Bytes for rings, weights and kernels where rows do not stream, above what the tensors take: 20 to
50 MB by trial on MobileNetV2 and U-Nets."""

_TALL = 512
"""Rows of a tile from which rings hardly grow any more."""

_CALLS = 3 << 10
"""Bytes of a program for each row of a part, by trial."""

_CACHE = 20 << 20
"""Bytes of rings up to which a row costs what it does in a narrow part; with twice as many it costs
twice as much. By trial: MobileNetV2 at 18, 23 and 44 MB of rings computes 7.3, 6.1 and 4.3 million
pixels per second. A constant, not this processor's cache: job arrays run on many machines, and all
of them have to cut an image alike."""


def _period(survey: Survey) -> list[int]:
    """After how many pixels of the image every layer has moved by whole positions."""
    steps = strides(survey.network)
    dims = len(survey.image.shape) - 2
    periods = [1] * dims
    for name in survey.needed:
        for axis, step in steps[name].items():
            periods[axis] = lcm(periods[axis], Fraction(step).numerator)
    return periods


def part_of(survey: Survey, spans: Sequence[Span], tile: Sequence[int]) -> tuple[Span, ...]:
    """The part of the image that a tile runs on; all parts of an image have one size.

    So one program serves all tiles. It begins at a multiple of all strides, and its length leaves
    the same rest by them as the image's, so that the last part ends where the image ends.

    Args:
        survey: of the network.
        spans: of the output, at most a tile.
        tile: the lengths of a tile.
    """
    needs = ranges(survey, {survey.output: tile_spans(survey, spans)}, to_border=True)
    read = needs.spans[survey.image.name, 0][2:]
    parts = []
    for span, by, length, part in zip(
        read, _period(survey), survey.image.shape[2:], part_size(survey, tile), strict=True
    ):
        start = max(0, min(span[0] // by * by, length - part))
        parts.append((start, max(start + part, span[1])))
    return tuple(parts)


def part_size(survey: Survey, tile: Sequence[int]) -> list[int]:
    """The lengths of a part: what a tile in the middle reads, wherever it begins."""
    key = tuple(tile)
    if key not in survey.parts:
        survey.parts[key] = _part_size(survey, key)
    return survey.parts[key]


def _part_size(survey: Survey, tile: Sequence[int]) -> list[int]:
    spans = [
        ((total - length) // 2, (total - length) // 2 + length)
        for total, length in zip(output_size(survey), tile, strict=True)
    ]
    needs = ranges(survey, {survey.output: tile_spans(survey, spans)}, to_border=True)
    sizes = []
    for (start, stop), by, length, wide in zip(
        needs.spans[survey.image.name, 0][2:], _period(survey), survey.image.shape[2:],
        _wide(survey), strict=True,
    ):  # fmt: skip
        least = max(stop - start + 2 * by, wide)
        sizes.append(min(length, least + (length - least) % by))
    return sizes


def compiled_peak(survey: Survey, tile: Sequence[int], kept: int) -> int:
    """The bytes of tensors alive while a tile runs.

    Args:
        survey: of the network.
        tile: its lengths.
        kept: bytes that are kept of a position of the output.
    """
    channels, *size = survey.image.shape[1:]
    part = part_size(survey, tile)
    # The tile, the same in the target's order, and as it is encoded.
    written = 3 * kept * prod(tile)
    if survey.rings is not None:
        calls = _CALLS * part[0]
        slab = 2 * 4 * channels * SLAB * part[1]
        return _FIXED + _rings(survey, tile) + calls + slab + written
    outputs = prod(part) * prod(survey.result.shape) // prod(size)
    # The image as it is read, as floats and as the kernels take it; the output, and what is kept.
    return _RINGS + 3 * 4 * prod(part) * channels + 2 * 4 * outputs + written


def _wide(survey: Survey) -> list[int]:
    """How long a part has to be for every layer to have the positions that a kernel computes."""
    steps, size = strides(survey.network), survey.image.shape[2:]
    least = [_WIDEST * by for by in _period(survey)]
    for name in survey.needed:
        for axis, own in zip(survey.axes[name], survey.network[name].shape, strict=True):
            if axis in steps[name]:
                # A part that is shorter than the image by n is shorter by n / step at this layer.
                spare = steps[name][axis] * (own - min(own, _WIDEST))
                least[axis] = max(least[axis], ceil(size[axis] - spare))
    return [min(*pair) for pair in zip(least, size, strict=True)]


def _rings(survey: Survey, tile: Sequence[int]) -> int:
    """The bytes of the rings of a part; they depend on its width, and on rows up to some number."""
    assert survey.rings is not None
    rows, columns = part_size(survey, (min(tile[0], _TALL), tile[1]))
    return survey.rings.nbytes((rows, columns), usable_processors())


def best_part(survey: Survey, memory: int, kept: int) -> tuple[int, ...]:
    """The tile that repeats least work, as far as its tensors fit a budget.

    Where rows stream, a tile is as wide as the cache holds its rings, if that does not repeat more
    than it saves, and as high as memory allows.

    Args:
        survey: of the network.
        memory: the budget, in bytes.
        kept: bytes that are kept of a position of the output.

    Raises:
        ArgumentError: if not even the smallest tile fits.
    """
    size = output_size(survey)

    def fits(tile: Sequence[int]) -> bool:
        return compiled_peak(survey, tile, kept) <= memory

    def square(side: int) -> tuple[int, ...]:
        return tuple(min(length, side) for length in size)

    if not fits(square(SMALLEST)):
        raise ArgumentError(
            f"no tile of {survey.network.name} fits memory={memory}: kernels and a tile with a "
            f"side of {SMALLEST} need {compiled_peak(survey, square(SMALLEST), kept)}"
        )
    if survey.rings is None:
        side = _largest(max(size), lambda side: fits(square(side)))
        return tuple(even(length, min(length, side)) for length in size)
    rows, columns = size
    low = min(rows, SMALLEST)
    widths = [width for width in _widths(columns) if fits((low, width))] or [square(SMALLEST)[1]]
    width = min(widths, key=lambda width: _cost(survey, (low, width)))
    height = _largest(rows, lambda side: fits((min(rows, side), width)))
    return even(rows, min(rows, height)), width


def _widths(length: int) -> Iterator[int]:
    """Ways to cut a length evenly, the widest first."""
    width = even(length, min(length, LARGEST))
    while width >= SMALLEST:
        yield width
        width = min(even(length, max(1, width // 2)), width - 1)


def _cost(survey: Survey, tile: Sequence[int]) -> float:
    """Time per position of the output, over that without halo and with rings in the cache."""
    beyond = (_rings(survey, tile) - _CACHE) / _CACHE
    halo = part_size(survey, tile)[1] / survey.image.shape[3] * output_size(survey)[1] / tile[1]
    return halo * (1 + min(max(0.0, beyond), 1.0))


def _largest(length: int, fits: Callable[[int], bool]) -> int:
    """The longest side that fits, in steps of the smallest."""
    low, high = 1, -(-min(length, LARGEST) // SMALLEST)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle * SMALLEST):
            low = middle
        else:
            high = middle - 1
    return low * SMALLEST
