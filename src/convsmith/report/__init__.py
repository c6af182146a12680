"""Results as tables, charts and pages: from plain data, without torch and without numpy."""

from convsmith.report.chart import bars, groups
from convsmith.report.column import Column
from convsmith.report.costs import cost_picture, memory_picture
from convsmith.report.curve import curve
from convsmith.report.field import field_picture
from convsmith.report.formats import (
    MISSING,
    bytes_,
    count,
    milliseconds,
    number,
    percent,
    shape,
    short,
)
from convsmith.report.frame import data_frame
from convsmith.report.gridding import gridding_picture
from convsmith.report.heat import map_picture
from convsmith.report.page import Facts, Figure, Page, Section
from convsmith.report.plain import plain
from convsmith.report.result import Result
from convsmith.report.saving import save_text
from convsmith.report.table import Table

__all__ = [
    "MISSING",
    "Column",
    "Facts",
    "Figure",
    "Page",
    "Result",
    "Section",
    "Table",
    "bars",
    "bytes_",
    "cost_picture",
    "count",
    "curve",
    "data_frame",
    "field_picture",
    "gridding_picture",
    "groups",
    "map_picture",
    "memory_picture",
    "milliseconds",
    "number",
    "percent",
    "plain",
    "save_text",
    "shape",
    "short",
]


def __dir__() -> list[str]:
    return list(__all__)
