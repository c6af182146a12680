"""A table set in terminal cells: how wide each column becomes, and what stands in its lines."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.draw.column import Column
from convsmith.draw.text import cells, clean, one_line, pad, shorten, wrap
from convsmith.errors import ArgumentError

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
        titles = [clean(one_line(column.title)) for column in columns]
        texts = [[c.text(value) for c, value in zip(columns, row, strict=True)] for row in rows]
        natural, least, names = [], [], []
        for index, (column, title) in enumerate(zip(columns, titles, strict=True)):
            # Only text may lose characters; whatever a format made of a figure stays whole.
            words: set[str] = set()
            figures = {""}
            for row, text in zip(rows, texts, strict=True):
                (words if isinstance(row[index], str) else figures).add(text[index])
            figure = max(map(cells, figures))
            heading = max(map(cells, title.split()), default=1)
            natural.append(max(heading, figure, *map(cells, words)))
            names.append(set() if column.wrap else words)
            least.append(max(figure, min(heading, _LEAST_TEXT, width or _LEAST_TEXT)))
            if width is not None and any(words):
                room = min(natural[-1], width, max(_LEAST_TEXT, width // 2))
                least[-1] = max(least[-1], _least(names[-1], room))
        # Headings stand in one line where there is room, and break before any text is shortened.
        whole = [max(cells(title), own) for title, own in zip(titles, natural, strict=True)]
        if width is None or sum(whole) + GAP * (len(whole) - 1) <= width:
            natural = whole
        self.widths = fit(natural, least, width)
        self.columns = tuple(columns[: len(self.widths)])
        self.left_out = titles[len(self.widths) :]
        heads = [_heading(t, w) for t, w in zip(titles, self.widths, strict=False)]
        height = max(map(len, heads))
        self.head: list[Cell] = [("",) * (height - len(lines)) + lines for lines in heads]
        broken = [
            column.wrap or not _distinct(own_names, own)
            for column, own_names, own in zip(self.columns, names, self.widths, strict=False)
        ]
        self.rows: list[list[Cell]] = [
            [
                tuple(wrap(text, own)) if in_lines else (shorten(text, own),)
                for in_lines, text, own in zip(broken, row, self.widths, strict=False)
            ]
            for row in texts
        ]

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


def _distinct(names: set[str], width: int) -> bool:
    """Whether names that differ still do without their middle."""
    return len({shorten(name, width) for name in names}) == len(names)


def _least(names: set[str], room: int) -> int:
    """The least width that keeps the names distinct; all the room there is if none does."""
    return next((w for w in range(_LEAST_TEXT, room) if _distinct(names, w)), room)


def _heading(title: str, width: int) -> Cell:
    return tuple(wrap(" ".join(shorten(word, width) for word in title.split()), width))
