"""Networks rewritten with lighter convolutions that keep what was learned."""

from convsmith.rewrite.dilation.certificate import Certificate, Equality
from convsmith.rewrite.dilation.dilate import Dilated, dilate
from convsmith.rewrite.lightening.forms import FORMS
from convsmith.rewrite.lightening.lighten import Lightened, lighten
from convsmith.rewrite.lightening.report import Figures, LightenReport, RewrittenLayer
from convsmith.rewrite.recipe import load, read_recipe, save

__all__ = [
    "FORMS",
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


def __dir__() -> list[str]:
    return list(__all__)
