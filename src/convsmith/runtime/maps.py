"""Feature maps as kernels want them: channels innermost, borders in place, rows in a ring."""

from __future__ import annotations

from dataclasses import dataclass, field

from convsmith.kernels.isa import channel_pitch

__all__ = ["Layout", "Map"]


@dataclass
class Map:
    """A feature map of a region, whatever the size of the image.

    Attributes:
        name: the layer that gives it.
        channels: how many it has.
        pitch: how many it has room for.
        borders: rows above and below, pixels left and right, that its readers want to find.
        fill: the value of the borders.
    """

    name: str
    channels: int
    pitch: int = 0
    borders: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    fill: float = 0.0

    def __post_init__(self) -> None:
        self.pitch = self.pitch or channel_pitch(self.channels)[0]

    @property
    def tile(self) -> int:
        """Channels of the register tile that writes it."""
        return channel_pitch(self.channels)[1]

    def widen(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Make room for one more reader's padding."""
        self.borders = [max(a, b) for a, b in zip(self.borders, (*rows, *columns), strict=True)]


@dataclass(frozen=True)
class Layout:
    """Where a map lies in memory, for one size of image.

    Attributes:
        map: the map.
        height: its rows.
        width: its pixels a row.
        ring: the rows there is memory for.
        offset: of its first value in the memory of a call, in bytes.
    """

    map: Map
    height: int
    width: int
    ring: int
    offset: int = 0

    @property
    def row(self) -> int:
        """Values from one row to the next."""
        return (self.width + self.map.borders[2] + self.map.borders[3]) * self.map.pitch

    @property
    def nbytes(self) -> int:
        """Bytes of memory, kept a multiple of a page."""
        return -(-self.ring * self.row * 4 // 4096) * 4096

    def address(self, row: int, column: int) -> int:
        """Bytes from the start of memory to a pixel; columns begin at -borders."""
        slot = row % self.ring
        return self.offset + 4 * (slot * self.row + (column + self.map.borders[2]) * self.map.pitch)
