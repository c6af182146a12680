"""The shape of what a run writes: letters, sizes, and the grid of units that it is cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from convsmith.errors import ArgumentError
from convsmith.tiling.manifest import Unit
from convsmith.tiling.spans import Span, Spans
from convsmith.tiling.stores.layout import SPATIAL
from convsmith.tiling.survey import Survey

__all__ = ["Geometry", "geometry"]


@dataclass(frozen=True)
class Geometry:
    """What one image's result looks like, and how it is cut.

    Attributes:
        letters: the dimensions of a reduced result without its batch, such as `CYX`.
        shape: their lengths.
        cut: which of them tiles cut.
        images: how many images there are.
        batched: whether the target has a dimension for them.
        tile: the lengths of a tile along the dimensions that are cut.
        unit: the same for what one writer writes at once; a tile is never larger.
        layout: the order of the dimensions in the target.
    """

    letters: str
    shape: tuple[int, ...]
    cut: tuple[int, ...]
    images: int
    batched: bool
    tile: tuple[int, ...]
    unit: tuple[int, ...]
    layout: str

    @property
    def size(self) -> tuple[int, ...]:
        """The lengths of the dimensions that are cut."""
        return tuple(self.shape[place] for place in self.cut)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many units there are along each dimension that is cut."""
        return tuple(-(-n // by) for n, by in zip(self.size, self.unit, strict=True))

    @property
    def number(self) -> int:
        """How many units there are."""
        return self.images * prod(self.counts)

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of the target."""
        lengths = dict(zip("N" + self.letters, (self.images, *self.shape), strict=True))
        return tuple(lengths[letter] for letter in self.layout)

    def units(self) -> Iterator[Unit]:
        """Every unit, image by image, row by row."""
        return product(range(self.images), *map(range, self.counts))

    def spans(self, unit: Unit) -> tuple[Span, ...]:
        """Where a unit lies along the dimensions that are cut."""
        return tuple(
            (index * by, min((index + 1) * by, length))
            for index, by, length in zip(unit[1:], self.unit, self.size, strict=True)
        )

    def tiles(self, spans: Sequence[Span]) -> Iterator[tuple[Span, ...]]:
        """The tiles of a unit."""
        return product(
            *(
                [(at, min(at + by, stop)) for at in range(start, stop, by)]
                for (start, stop), by in zip(spans, self.tile, strict=True)
            )
        )

    def full(self, spans: Sequence[Span]) -> Spans:
        """Spans of all dimensions of one image's result."""
        rest = dict(zip(self.cut, spans, strict=True))
        return tuple(rest.get(place, (0, length)) for place, length in enumerate(self.shape))

    def place(self, image: int, spans: Sequence[Span]) -> Spans:
        """Where a part lies in the target."""
        parts = dict(zip("N" + self.letters, ((image, image + 1), *self.full(spans)), strict=True))
        return tuple(parts[letter] for letter in self.layout)

    def order(self) -> list[int]:
        """How a part (letters, with a batch of one before them if batched) is turned for it."""
        have = "N" * self.batched + self.letters
        return [have.index(letter) for letter in self.layout]


def geometry(
    survey: Survey,
    *,
    keeps_channels: bool,
    images: int,
    batched: bool,
    channels_last: bool,
    tile: tuple[int, ...],
    unit: tuple[int, ...] | None = None,
) -> Geometry:
    """Name the dimensions of the output.

    Raises:
        ArgumentError: for an output whose dimensions have no names.
    """
    axes, shape = survey.axes[survey.output], survey.result.shape
    space = SPATIAL[len(survey.image.shape) - 2]
    letters = ["C" if axis is None else space[axis] for axis in axes[1:]]
    if not shape or shape[0] != 1 or axes[0] is not None or len(set(letters)) < len(letters):
        raise ArgumentError(
            f"the output {survey.output!r} of {survey.network.name} has shape {shape}: expected "
            "a batch, channels and axes of the image"
        )
    lengths = list(shape[1:])
    if not keeps_channels:
        if axes[1:2] != (None,):
            raise ArgumentError(
                f"the output {survey.output!r} has no channels to reduce: shape {shape}"
            )
        del letters[0], lengths[0]
    text = "".join(letters)
    layout = text[1:] + "C" if channels_last and text.startswith("C") else text
    return Geometry(
        letters=text,
        shape=tuple(lengths),
        cut=tuple(place for place, letter in enumerate(text) if letter != "C"),
        images=images,
        batched=batched,
        tile=tile if unit is None else tuple(map(min, tile, unit)),
        unit=tile if unit is None else unit,
        layout="N" * batched + layout,
    )


def whole_shards(tile: Sequence[int], shard: Sequence[int]) -> tuple[int, ...]:
    """The unit for a target that has shards: as many whole ones as a tile holds, at least one.

    >>> whole_shards((40, 12), (16, 16))
    (32, 16)
    """
    return tuple(max(1, t // s) * s for t, s in zip(tile, shard, strict=True))
