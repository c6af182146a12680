"""Tables of results: in a terminal, as plain text, as CSV and in a page, from the same raw values.

>>> from convsmith.report import Column, Table, count
>>> table = Table(
...     [
...         Column("layer", "layer"),
...         Column("macs", "MACs", align="right", format=count),
...         Column("share", "share", align="right", share=True),
...     ],
...     [("conv1", 118013952, 0.0652), ("fc", 512000, None)],
...     footer={"layer": "total", "macs": 118525952},
... )
>>> print(table)
layer         MACs  share
─────────────────────────
conv1  118,013,952  6.5 %
fc         512,000      –
─────────────────────────
total  118,525,952
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convsmith.errors import ArgumentError, nearest
from convsmith.report.column import Column
from convsmith.report.formats import is_number, raw
from convsmith.report.grid import Grid
from convsmith.report.style import TABLE_CSS
from convsmith.report.text import cells, clean, escape, in_cell, one_line, wrap

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Row", "Table"]

Row = Sequence[Any] | Mapping[str, Any]
"""One value per column in order, or a dictionary by column key."""


@dataclass(frozen=True, init=False, repr=False)
class Table:
    """Columns, rows of raw values, and what stands around them.

    None, NaN and a key that a row lacks mean that a figure is not established: shown as `–`, empty
    in CSV. What the footer lacks stays blank.

    Attributes:
        columns: from the most to the least important, names first; two never share a key.
        rows: one tuple per row, one raw value per column.
        title: one line above, the caption in a page.
        footer: totals; text, such as "total", is shown as it is.
        note: a remark below.

    Raises:
        ArgumentError: for no columns, two with one key, a row of another length, or an unknown key.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str | None
    footer: tuple[Any, ...] | None
    note: str | None

    def __init__(
        self,
        columns: Iterable[Column],
        rows: Iterable[Row],
        title: str | None = None,
        footer: Row | None = None,
        note: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "columns", tuple(columns))
        keys = [column.key for column in self.columns]
        if not keys or len(set(keys)) < len(keys):
            raise ArgumentError(f"a table needs columns with different keys, not {keys}")
        put(self, "rows", tuple(_row(keys, row, f"row {i}", None) for i, row in enumerate(rows)))
        put(self, "title", one_line(title or "") or None)
        put(self, "footer", None if footer is None else _row(keys, footer, "the footer", ""))
        put(self, "note", one_line(note or "") or None)

    def __repr__(self) -> str:
        title = f"{self.title!r}, " if self.title else ""
        return f"Table({title}{len(self.rows)} rows × {len(self.columns)} columns)"

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """The table in plain text, no line longer than `width` terminal cells.

        Headings break first. Then text loses its middle, as long as names stay different (else
        they go on in the next line). Then columns go from the right and are named below the table.
        A number keeps all its digits, even in a first column wider than `width`.
        """
        return "\n".join(line for line, _ in self._lines(width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show the table in a rich console: `to_text` at its width, with some emphasis."""
        from rich.text import Text

        for line, style in self._lines(options.max_width):
            yield Text(line, style, no_wrap=True, overflow="ignore")

    def to_csv(self) -> str:
        """The rows as CSV (RFC 4180): keys as header, raw values, sizes as `1x64x112x112`.

        Texts cannot act as formulas or break lines: see `in_cell`.

        Title, footer and note are left out: a total among the rows would be counted again.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow([in_cell(column.key) for column in self.columns])
        writer.writerows([in_cell(raw(value)) for value in row] for row in self.rows)
        return buffer.getvalue()

    def to_html(self) -> str:
        """The table as HTML, everything escaped; `Page` and `_repr_html_` bring its style."""
        name = escape(self.title or "")
        caption = f"<caption>{name}</caption>\n" if name else ""
        # A wide table can be scrolled with the keyboard once focused, so it needs a name.
        region = f' role="region" aria-label="{name}"' if name else ""
        head = "".join(
            f'<th scope="col"{_classes(column)}>{escape(one_line(column.title))}</th>'
            for column in self.columns
        )
        largest = [
            max((row[index] for row in self.rows if is_number(row[index])), default=0)
            for index in range(len(self.columns))
        ]
        # On a narrow screen the names stay in sight and may break; never sooner than they must.
        first = self.columns[0]
        words = [*first.title.split(), *(first.text(row[0]) for row in self.rows)]
        names = max(map(cells, words), default=0)
        body = "\n".join(self._html_row(row, largest) for row in self.rows)
        foot = f"<tfoot>\n{self._html_row(self.footer)}\n</tfoot>\n" if self.footer else ""
        note = f"<figcaption>{escape(self.note)}</figcaption>\n" if self.note else ""
        return (
            f'<figure class="cs-table">\n<div class="cs-scroll" tabindex="0"{region}>\n'
            f'<table style="--names:{names}ch">\n{caption}<thead>\n<tr>{head}</tr>\n</thead>\n'
            f"<tbody>\n{body}\n</tbody>\n{foot}</table>\n</div>\n{note}</figure>"
        )

    def _repr_html_(self) -> str:
        return f"<style>{TABLE_CSS}</style>\n{self.to_html()}"

    def _lines(self, width: int | None) -> Iterator[tuple[str, str]]:
        """Every line of the plain table, and the style that rich gives it."""
        footers = [self.footer] if self.footer else []
        grid = Grid(self.columns, [*self.rows, *footers], width)
        if self.title:
            yield from ((line, "bold") for line in _paragraph(self.title, width))
            yield "", ""
        yield from ((line, "bold") for line in grid.lines(grid.head))
        yield grid.rule, "dim"
        for row in grid.rows[: len(self.rows)]:
            yield from ((line, "") for line in grid.lines(row))
        for row in grid.rows[len(self.rows) :]:
            yield grid.rule, "dim"
            yield from ((line, "bold") for line in grid.lines(row))
        left_out = [f"not shown: {', '.join(grid.left_out)}"] if grid.left_out else []
        remarks = [*left_out, self.note] if self.note else left_out
        if remarks:
            yield "", ""
        for remark in remarks:
            yield from ((line, "dim") for line in _paragraph(remark, width))

    def _html_row(self, row: tuple[Any, ...], largest: Sequence[Any] = ()) -> str:
        marks = []
        for index, (column, value) in enumerate(zip(self.columns, row, strict=True)):
            attributes = _classes(column)
            if is_number(value):
                attributes += f' data-value="{raw(value)}"'
                if largest and column.share and largest[index] > 0:
                    length = min(1.0, max(0.0, float(value / largest[index])))
                    attributes += f' style="--share:{100 * length:.2f}%"'
            names_row = index == 0 and isinstance(value, str)
            tag, scope = ("th", ' scope="row"') if names_row else ("td", "")
            marks.append(f"<{tag}{scope}{attributes}>{escape(column.text(value))}</{tag}>")
        return f"<tr>{''.join(marks)}</tr>"


def _row(keys: Sequence[str], row: Row, name: str, blank: object) -> tuple[Any, ...]:
    if isinstance(row, Mapping):
        for key in row:
            if key not in keys:
                raise ArgumentError(f"{name}: no column {key!r}{nearest(str(key), keys)}")
        return tuple(row.get(key, blank) for key in keys)
    if isinstance(row, str) or len(row) != len(keys):
        raise ArgumentError(f"{name} must have {len(keys)} values, one per column: {row!r}")
    return tuple(row)


def _paragraph(text: str, width: int | None) -> list[str]:
    text = clean(text)
    return [text] if width is None else wrap(text, width)


def _classes(column: Column) -> str:
    """The class attribute of a column's cells."""
    wanted = {
        "cs-number": column.align == "right",
        "cs-share": column.share,
        "cs-wrap": column.wrap,
    }
    names = [name for name, on in wanted.items() if on]
    return f' class="{" ".join(names)}"' if names else ""
