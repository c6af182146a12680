"""Results as tables, charts and pages: from plain data, without torch and without numpy."""

from convsmith.draw.chart import bars, groups
from convsmith.draw.column import Column
from convsmith.draw.formats import (
    MISSING,
    bytes_,
    count,
    milliseconds,
    number,
    percent,
    shape,
    short,
)
from convsmith.draw.frame import data_frame
from convsmith.draw.page import Facts, Figure, Page, Section
from convsmith.draw.saving import save_text
from convsmith.draw.table import Table

__all__ = [
    "MISSING",
    "Column",
    "Facts",
    "Figure",
    "Page",
    "Section",
    "Table",
    "bars",
    "bytes_",
    "count",
    "data_frame",
    "groups",
    "milliseconds",
    "number",
    "percent",
    "save_text",
    "shape",
    "short",
]
