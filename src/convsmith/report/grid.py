"""A table set in terminal cells: how wide each column becomes, and what stands in its lines."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import compress
from operator import not_

from convsmith.errors import ArgumentError
from convsmith.report.column import Column
from convsmith.report.text import cells, clean, one_line, pad, shorten, wrap

__all__ = ["GAP", "Grid", "fit"]

Cell = tuple[str, ...]
"""The lines of one cell."""

GAP = 2
"""Cells between two columns."""

# A column of text is not made narrower than this.
_LEAST_TEXT = 12


def fit(natural: Sequence[int], least: Sequence[int], width: int | None) -> list[int]:
    """Share `width` among as many leading columns as it can hold at their least width.

    Columns go from the right, because a table is read from its names on the left; then the widest
    column gives first. The first column always stays, at its least width if need be.

    >>> fit([23, 12, 9], [12, 12, 9], width=None), fit([23, 12, 9], [12, 12, 9], width=40)
    ([23, 12, 9], [15, 12, 9])
    >>> fit([23, 12, 9], [12, 12, 9], width=30)
    [16, 12]
    """
    widths = list(natural)
    if width is None:
        return widths
    while len(widths) > 1 and sum(least[: len(widths)]) + GAP * (len(widths) - 1) > width:
        widths.pop()
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - width):
        movable = [index for index, own in enumerate(widths) if own > least[index]]
        if not movable:
            break
        widths[max(movable, key=widths.__getitem__)] -= 1
    return widths


@dataclass(frozen=True)
class _Column:
    """What is needed to set one column: its texts, and how wide it must, may and would be."""

    column: Column
    title: str
    texts: tuple[str, ...]
    names: frozenset[str]
    natural: int
    least: int

    @classmethod
    def measured(cls, column: Column, values: Sequence[object], width: int | None) -> _Column:
        title = clean(one_line(column.title))
        texts = tuple(map(column.text, values))
        # Only text may lose characters; a formatted figure stays whole.
        is_name = [isinstance(value, str) for value in values]
        words = frozenset(compress(texts, is_name))
        figure = max(map(cells, compress(texts, map(not_, is_name))), default=1)
        heading = max(map(cells, title.split()), default=1)
        natural = max(heading, figure, *map(cells, words))
        least = max(figure, min(heading, _LEAST_TEXT, width or _LEAST_TEXT))
        names = frozenset() if column.wrap else words
        if width is not None and words:
            room = min(natural, width, max(_LEAST_TEXT, width // 2))
            least = max(least, _least(names, room))
        return cls(column, title, texts, names, natural, least)

    def heading(self, width: int) -> Cell:
        """The lines of the heading."""
        return tuple(wrap(" ".join(shorten(word, width) for word in self.title.split()), width))

    def cells(self, width: int) -> list[Cell]:
        """The lines of every cell: one without its middle, or several if names need them."""
        if self.column.wrap or not _distinct(self.names, width):
            return [tuple(wrap(text, width)) for text in self.texts]
        return [(shorten(text, width),) for text in self.texts]


class Grid:
    """The head and the rows of a table within `width` cells, each cell as its lines.

    Attributes:
        columns: those that are shown.
        widths: of the columns shown.
        head: the cells of the head, all equally high and aligned at the bottom.
        rows: the cells of each row.
        left_out: the titles of the columns that did not fit.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int | None
    ) -> None:
        if width is not None and width < 1:
            raise ArgumentError(f"width must be at least 1 cell, not {width}")
        measured = [
            _Column.measured(column, [row[index] for row in rows], width)
            for index, column in enumerate(columns)
        ]
        # Headings stand in one line where there is room, and break before any text is shortened.
        natural = [max(cells(own.title), own.natural) for own in measured]
        if width is not None and sum(natural) + GAP * (len(natural) - 1) > width:
            natural = [own.natural for own in measured]
        self.widths = fit(natural, [own.least for own in measured], width)
        self.columns = tuple(columns[: len(self.widths)])
        self.left_out = [own.title for own in measured[len(self.widths) :]]
        shown = list(zip(measured, self.widths, strict=False))
        heads = [own.heading(own_width) for own, own_width in shown]
        height = max(map(len, heads))
        self.head: list[Cell] = [("",) * (height - len(lines)) + lines for lines in heads]
        set_columns = [own.cells(own_width) for own, own_width in shown]
        self.rows: list[tuple[Cell, ...]] = list(zip(*set_columns, strict=True))

    @property
    def rule(self) -> str:
        """The line under the head."""
        return "─" * (sum(self.widths) + GAP * (len(self.widths) - 1))

    def lines(self, row: Sequence[Cell]) -> list[str]:
        """One row of cells as lines of text."""
        height = max(map(len, row))
        filled = [cell + ("",) * (height - len(cell)) for cell in row]
        return [
            (" " * GAP)
            .join(
                pad(text, width, column.align)
                for text, width, column in zip(line, self.widths, self.columns, strict=True)
            )
            .rstrip()
            for line in zip(*filled, strict=True)
        ]


def _distinct(names: Set[str], width: int) -> bool:
    """Whether names that differ still do without their middle."""
    return len({shorten(name, width) for name in names}) == len(names)


def _least(names: Set[str], room: int) -> int:
    """The least width that keeps the names distinct; all the room there is if none does."""
    return next((w for w in range(_LEAST_TEXT, room) if _distinct(names, w)), room)
