"""`Result`: what every result can do, from its fields and its table.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Figures(Result):
...     macs: int
...     size: tuple[int, ...]
>>> found = Figures(118013952, (7, 7))
>>> found.to_dict()
{'macs': 118013952, 'size': [7, 7]}
>>> print(found)
       macs  size
─────────────────
118,013,952   7×7
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from convsmith.report.column import Column
from convsmith.report.formats import is_number, number, shape
from convsmith.report.frame import data_frame
from convsmith.report.plain import plain
from convsmith.report.table import Table

if TYPE_CHECKING:
    import pandas

__all__ = ["Result"]


class Result:
    """The base of every result, each a frozen dataclass.

    A result gives itself as a table, as plain data, as a data frame, as HTML where a notebook asks
    for it, and in one line. A subclass says what differs: most have a `table` of their own, those
    with parts a `to_dict`, and nearly all a `__repr__`.
    """

    __slots__ = ()

    def table(self) -> Table:
        """The result as a table: unless a subclass has its own, one row with a column per field."""
        values = {
            each.name: getattr(self, each.name)
            for each in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if each.repr
        }
        return Table([_column(name, value) for name, value in values.items()], [values])

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data: what `json.dumps` takes and `json.loads` gives back."""
        own: list[str] = [each.name for each in fields(self) if each.repr]  # type: ignore[arg-type]
        return {name: plain(getattr(self, name)) for name in own}

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of the table, all their digits, as a `pandas.DataFrame`.

        Raises:
            MissingExtra: without pandas, with the line that installs it.
        """
        table = self.table()
        keys = [column.key for column in table.columns]
        return data_frame(dict(zip(keys, row, strict=True)) for row in table.rows)

    def to_csv(self) -> str:
        """The rows of the table as CSV, all their digits."""
        return self.table().to_csv()

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return self.table().to_text()


def _column(name: str, value: object) -> Column:
    to_text: Callable[[Any], str] | None = None
    if is_number(value):
        to_text = number
    elif isinstance(value, tuple):
        to_text = shape
    title = name.replace("_", " ")
    return Column(name, title, "left" if isinstance(value, str) else "right", to_text)
