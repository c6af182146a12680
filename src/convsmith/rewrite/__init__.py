"""Networks rewritten with lighter convolutions that keep what was learned."""

from convsmith.rewrite.lighten import Lightened, lighten
from convsmith.rewrite.recipe import load, read_recipe, save
from convsmith.rewrite.report import Figures, LightenReport, RewrittenLayer

__all__ = [
    "Figures",
    "LightenReport",
    "Lightened",
    "RewrittenLayer",
    "lighten",
    "load",
    "read_recipe",
    "save",
]
