"""Results as tables, charts and pages: from plain data, without torch and without numpy."""

from convsmith.draw.animate import animate
from convsmith.draw.chart import bars, groups
from convsmith.draw.column import Column
from convsmith.draw.costs import cost_picture, memory_picture
from convsmith.draw.curve import curve
from convsmith.draw.field import field_picture
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
from convsmith.draw.gridding import gridding_picture
from convsmith.draw.heat import map_picture
from convsmith.draw.page import Facts, Figure, Page, Section
from convsmith.draw.saving import save_text
from convsmith.draw.scene import Scene
from convsmith.draw.table import Table

__all__ = [
    "MISSING",
    "Column",
    "Facts",
    "Figure",
    "Page",
    "Scene",
    "Section",
    "Table",
    "animate",
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
    "save_text",
    "shape",
    "short",
]
