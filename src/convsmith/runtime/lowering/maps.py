"""Feature maps as kernels take them: channels innermost, borders in place, rows in a ring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from convsmith.kernels.isa import BLOCK, channel_pitch

__all__ = ["Layout", "Map"]


@dataclass
class Map:
    """A feature map of a region, whatever the size of the image.

    Attributes:
        name: the layer that gives it.
        channels: how many it has.
        pitch: how many it has room for.
        borders: rows above and below, pixels left and right, that its readers look for.
        fill: the value of the borders.
        parent: the map, a concatenation, whose channels from `first` on these are; borders and
            memory are then those of the map that has no parent.
        pixel: whether it is a single pixel, or several that are images of one, at every size.
        narrow: whether its values are bf16, else float32; asked of the root.
    """

    name: str
    channels: int
    pitch: int = 0
    borders: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    fill: float = 0.0
    parent: Map | None = None
    first: int = 0
    pixel: bool = False
    narrow: bool = False

    def __post_init__(self) -> None:
        self.pitch = self.pitch or channel_pitch(self.channels)[0]

    @property
    def tile(self) -> int:
        """Channels of the register tile that writes it."""
        quickest = channel_pitch(self.channels)[1]
        return next(tile for tile in (quickest, 48, 32, BLOCK) if self.pitch % tile == 0)

    @property
    def few(self) -> int:
        """How many channels it has, if it has room for no others but one of zeros; else 0."""
        return self.channels if self.parent is None and self.pitch <= _FEW else 0

    @property
    def even(self) -> bool:
        """Whether its number of channels is even, with that one of zeros."""
        return (self.pitch if self.few else self.channels) % 2 == 0

    @property
    def chain(self) -> Iterator[Map]:
        """This map, the one whose channels it is, and so on up to the root."""
        some: Map | None = self
        while some is not None:
            yield some
            some = some.parent

    @property
    def root(self) -> Map:
        """The map with memory of its own that this one is or lies in."""
        return self if self.parent is None else self.parent.root

    @property
    def start(self) -> int:
        """Its first channel in the root."""
        return 0 if self.parent is None else self.parent.start + self.first

    @property
    def size(self) -> int:
        """Bytes of a value."""
        return 2 if self.root.narrow else 4

    def join(self, parent: Map, first: int) -> None:
        """Become channels of another map, with no room between them and the next."""
        self.parent, self.first, self.pitch = parent, first, self.channels

    def overlaps(self, other: Map) -> bool:
        """Whether the two share channels in memory."""
        start, other_start = self.start, other.start
        return (
            self.root is other.root
            and start < other_start + other.channels
            and other_start < start + self.channels
        )

    def become_narrow(self) -> None:
        """Be bf16, with room for whole vectors of channels if that costs little.

        Few channels get room for a pair more, of which the second one is zero.
        """
        self.narrow = True
        if self.few:
            self.pitch += self.pitch % 2
            return
        whole = -(-self.pitch // _HALVES) * _HALVES
        if whole - self.pitch <= self.pitch // 8:
            self.pitch = whole

    def widen(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Make room for one more reader's padding."""
        root, padding = self.root, (*rows, *columns)
        root.borders = [max(a, b) for a, b in zip(root.borders, padding, strict=True)]


_FEW = 4
"""Channels of an image that there is room for: a stem reads them one by one, or two by two."""

_HALVES = 2 * BLOCK
"""Channels of bf16 in a vector of the widest instruction set."""


@dataclass(frozen=True)
class Layout:
    """Where a map lies in memory, for one size of image.

    Attributes:
        map: the map.
        height: its rows.
        width: its pixels per row.
        ring: the rows there is memory for.
        offset: of its first value in the memory of a call, in bytes.
    """

    map: Map
    height: int
    width: int
    ring: int
    offset: int = 0

    @cached_property
    def gap(self) -> tuple[int, int]:
        """Rows and pixels of border between an end of the map and the next beginning.

        What is right of a row is also left of the next one: the border has one value everywhere.
        """
        top, bottom, left, right = self.map.borders
        return max(top, bottom), max(left, right)

    @property
    def size(self) -> int:
        """Bytes of a value."""
        return self.map.size

    @property
    def whole(self) -> bool:
        """Whether all rows lie in memory at once; those below them are then those above them."""
        return self.ring == self.height + self.gap[0]

    @cached_property
    def row(self) -> int:
        """Values from one row to the next."""
        return (self.width + self.gap[1]) * self.map.pitch

    @property
    def nbytes(self) -> int:
        """Bytes of memory, kept a multiple of a page."""
        values = self.ring * self.row + self.gap[1] * self.map.pitch
        return -(-values * self.size // 4096) * 4096

    def address(self, row: int, column: int, channel: int = 0) -> int:
        """Bytes from the start of memory to a value; columns begin left of the map, below 0."""
        pixel = (column + self.gap[1]) * self.map.pitch
        return self.offset + self.size * (row % self.ring * self.row + pixel + channel)
