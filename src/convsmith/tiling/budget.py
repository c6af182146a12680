"""What a tile costs: multiplications, and the memory that is alive while it is computed."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.errors import ArgumentError
from convsmith.network import Layer
from convsmith.tiling.crops import crop_of
from convsmith.tiling.interpreter import Statistics, last_readers
from convsmith.tiling.ranges import Key, Ranges, ranges
from convsmith.tiling.spans import Span, Spans, volume
from convsmith.tiling.survey import Survey

__all__ = [
    "LARGEST",
    "SMALLEST",
    "best_tile",
    "bytes_of",
    "even",
    "peak_bytes",
    "tile_spans",
    "work",
]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

SMALLEST = 16
"""The shortest side that is tried: below it nearly all work is done again by the neighbours."""

LARGEST = 8192
"""The longest side that is tried. A tile of 8192 repeats 1 % of the work for a halo of 40; a larger
one only makes a kill lose more."""


def bytes_of(memory: str | int) -> int:
    """A number of bytes, from a number or a text such as `2GB`.

    >>> bytes_of("1.5GB"), bytes_of("512 MiB"), bytes_of(4096)
    (1500000000, 536870912, 4096)
    """
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    if isinstance(memory, str):
        text = memory.strip().upper().removesuffix("B")
        binary = text.endswith("I")
        text = text.removesuffix("I").strip()
        unit = text[-1:] if text[-1:] in "KMGT" else ""
        try:
            amount = float(text.removesuffix(unit))
        except ValueError:
            amount = -1.0
        if 0 < amount < float("inf"):
            power = "KMGT".find(unit) + 1 if unit else 0
            return int(amount * (1024**power if binary else _UNITS[unit]))
    raise ArgumentError(f"memory must be bytes, or a text such as '2GB', not {memory!r}")


def work(layer: Layer, spans: Spans) -> int:
    """Multiplications (or values touched, where there are none) for a part of a result."""
    spec = layer.operation.arithmetic
    if isinstance(spec, Conv):
        return volume(spans) * spec.in_channels // spec.groups * spec.taps
    if isinstance(spec, ConvTranspose):
        strides = 1
        for stride in spec.stride:
            strides *= stride
        return volume(spans) * spec.in_channels // spec.groups * spec.taps // strides
    return volume(spans)


def peak_bytes(survey: Survey, needs: Ranges, known: Statistics | None = None) -> int:
    """The most bytes of tensors alive at once while a tile is computed, copies included."""
    known = known or Statistics()
    last = last_readers(survey, needs)
    alive: dict[Key, int] = {}
    peak = 0
    image = (survey.image.name, 0)
    if image in needs.spans:
        alive[image] = volume(needs.spans[image]) * survey.image.results[0].itemsize
    for layer in survey.network:
        for result in range(max(1, len(layer.results))):
            key = (layer.name, result)
            if key not in needs.spans or key in alive:
                continue
            kind = layer.results[result]
            if layer.constant or layer.name in known.values:
                alive[key] = 0  # kept for all tiles
                continue
            alive[key] = volume(needs.spans[key]) * kind.itemsize
            copies = crop_of(layer).copies * sum(
                volume(read.spans) * survey.network[read.source[0]].results[0].itemsize
                for read in needs.reads.get(key, ())
            )
            peak = max(peak, sum(alive.values()) + copies)
        for done in last.get(layer.name, ()):
            alive.pop(done, None)
    return max(peak, sum(alive.values()))


def tile_spans(survey: Survey, spans: Sequence[Span]) -> Spans:
    """The part of the output at spans of its axes, whole along the other dimensions."""
    rest = iter(spans)
    return tuple(
        (0, length) if axis is None else next(rest)
        for length, axis in zip(survey.result.shape, survey.axes[survey.output], strict=True)
    )


def output_size(survey: Survey) -> tuple[int, ...]:
    """The lengths of the output along the dimensions that tiles cut."""
    axes = survey.axes[survey.output]
    return tuple(
        length for length, axis in zip(survey.result.shape, axes, strict=True) if axis is not None
    )


def best_tile(
    survey: Survey, memory: int, known: Statistics | None = None, per_value: float = 0.0
) -> tuple[int, ...]:
    """The largest tile, alike along all axes, whose peak fits a budget.

    Args:
        survey: of the network.
        memory: bytes for the tensors of a tile.
        known: statistics that are known when tiles run.
        per_value: further bytes for each position of the output.

    Raises:
        ArgumentError: if not even the smallest tile fits.
    """
    size = output_size(survey)
    if not size:
        return ()
    fitting: tuple[int, ...] | None = None
    low, high = 0, -(-min(max(size), LARGEST) // SMALLEST)
    least = 0
    while low < high:  # in steps of the smallest side
        middle = (low + high + 1) // 2
        tile = tuple(min(length, middle * SMALLEST) for length in size)
        peak = middle_peak(survey, tile, known) + int(
            per_value * volume(tuple((0, n) for n in tile))
        )
        if peak <= memory:
            low, fitting = middle, tile
        else:
            high, least = middle - 1, peak
    if fitting is None:
        raise ArgumentError(
            f"no tile of {survey.network.name} fits memory={memory}: a side of {SMALLEST} "
            f"needs {least}"
        )
    return tuple(map(even, size, fitting))


def even(length: int, tile: int) -> int:
    """The shortest tile that cuts a length into no more pieces: less memory, no narrow last one.

    >>> even(2000, 1536)
    1008
    """
    pieces = -(-length // tile)
    shortest = -(-length // pieces)
    return min(length, -(-shortest // SMALLEST) * SMALLEST)


def middle_peak(survey: Survey, tile: Sequence[int], known: Statistics | None = None) -> int:
    """The peak of a tile in the middle of the image, where no border makes it smaller."""
    known = known or Statistics()
    spans = [
        (start, start + length)
        for start, length in (
            ((total - length) // 2, length)
            for total, length in zip(output_size(survey), tile, strict=True)
        )
    ]
    needs = ranges(
        survey,
        {survey.output: tile_spans(survey, spans)},
        values=known.values,
        normalised=known.moments,
    )
    return peak_bytes(survey, needs, known)
