"""One column of a table: its names, and how its values are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from convsmith.arithmetic.normalise import choice
from convsmith.report.formats import MISSING, is_missing, percent
from convsmith.report.text import clean, one_line

__all__ = ["Column"]


@dataclass(frozen=True)
class Column:
    """One column: its names, and how its values are shown.

    Attributes:
        key: its name in CSV and in rows given as dictionaries.
        title: the heading that people read.
        align: `'left'`, or `'right'` for numbers.
        format: turns a raw value into text; text is shown as it is.
        share: the values are shares of one: shown by `percent` unless `format` is given, and in a
            page with a bar, of which the longest stands for the largest share in the column.
        wrap: text too long for its column goes on in the next line; otherwise it loses its middle.

    Raises:
        ArgumentError: `align` is something else.
    """

    key: str
    title: str
    align: Literal["left", "right"] = "left"
    format: Callable[[Any], str] | None = None
    share: bool = False
    wrap: bool = False

    def __post_init__(self) -> None:
        choice(f"align of column {self.key!r}", self.align, ("left", "right"))

    def text(self, value: object) -> str:
        """What is shown of a raw value.

        >>> Column("n", "n").text(None), Column("n", "n", format="{:,}".format).text(1000)
        ('–', '1,000')
        """
        if is_missing(value):
            return MISSING
        if isinstance(value, str):
            return clean(one_line(value) if self.wrap else value)
        to_text: Callable[[Any], str] = self.format or (percent if self.share else str)
        return clean(to_text(value))
