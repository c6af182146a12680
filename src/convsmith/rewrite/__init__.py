"""Networks rewritten with lighter convolutions that keep what was learned."""

from convsmith.rewrite.certificate import Certificate, Equality
from convsmith.rewrite.dilate import Dilated, dilate
from convsmith.rewrite.lighten import Lightened, lighten
from convsmith.rewrite.recipe import load, read_recipe, save
from convsmith.rewrite.report import Figures, LightenReport, RewrittenLayer

__all__ = [
    "Certificate",
    "Dilated",
    "Equality",
    "Figures",
    "LightenReport",
    "Lightened",
    "RewrittenLayer",
    "dilate",
    "lighten",
    "load",
    "read_recipe",
    "save",
]
