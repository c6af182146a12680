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
from convsmith.draw.scenes.areas import cost_areas
from convsmith.draw.scenes.bands import bands
from convsmith.draw.scenes.card import card
from convsmith.draw.scenes.cone import cone
from convsmith.draw.scenes.halo import halo
from convsmith.draw.scenes.im2col import im2col
from convsmith.draw.scenes.matrix import matrix
from convsmith.draw.scenes.mixing import mixing
from convsmith.draw.scenes.over import effective_over, field_over
from convsmith.draw.scenes.paths import paths
from convsmith.draw.scenes.separable import separable
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
    "bands",
    "bars",
    "bytes_",
    "card",
    "cone",
    "cost_areas",
    "cost_picture",
    "count",
    "curve",
    "data_frame",
    "effective_over",
    "field_over",
    "field_picture",
    "gridding_picture",
    "groups",
    "halo",
    "im2col",
    "map_picture",
    "matrix",
    "memory_picture",
    "milliseconds",
    "mixing",
    "number",
    "paths",
    "percent",
    "save_text",
    "separable",
    "shape",
    "short",
]
