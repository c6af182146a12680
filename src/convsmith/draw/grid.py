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
        natural, least = [], []
        for index, title in enumerate(titles):
            # Only text may lose characters; whatever a format made of a figure stays whole.
            names: list[str] = []
            figures = [""]
            for row, text in zip(rows, texts, strict=True):
                (names if isinstance(row[index], str) else figures).append(text[index])
            figure = max(map(cells, figures))
            natural.append(max(1, cells(title), figure, *map(cells, names)))
            word = max(map(cells, title.split()), default=1)
            least.append(max(figure, min(word, _LEAST_TEXT, width or _LEAST_TEXT)))
            if width is not None and any(names):
                distinct = [] if columns[index].wrap else names
                least[-1] = max(least[-1], _least(distinct, min(natural[-1], width)))
        self.widths = fit(natural, least, width)
        self.columns = tuple(columns[: len(self.widths)])
        self.left_out = titles[len(self.widths) :]
        heads = [_heading(t, w) for t, w in zip(titles, self.widths, strict=False)]
        height = max(map(len, heads))
        self.head: list[Cell] = [("",) * (height - len(lines)) + lines for lines in heads]
        self.rows: list[list[Cell]] = [
            [
                tuple(wrap(text, own)) if column.wrap else (shorten(text, own),)
                for column, text, own in zip(self.columns, row, self.widths, strict=False)
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


def _least(names: Sequence[str], width: int) -> int:
    """The least width, up to `width`, at which names that differ still do without their middle."""
    different = set(names)
    for least in range(_LEAST_TEXT, width):
        if len({shorten(name, least) for name in different}) == len(different):
            return least
    return width


def _heading(title: str, width: int) -> Cell:
    return tuple(wrap(" ".join(shorten(word, width) for word in title.split()), width))
