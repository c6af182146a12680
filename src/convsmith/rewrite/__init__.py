"""Networks rewritten with lighter or wider convolutions that keep what was learned."""

from convsmith.nn.factored import form_names
from convsmith.rewrite.dilation import geometry as _dilated
from convsmith.rewrite.dilation.certificate import Certificate, Equality
from convsmith.rewrite.dilation.dilate import Dilated, dilate
from convsmith.rewrite.lightening import layers as _lighter
from convsmith.rewrite.lightening.lighten import Lightened, lighten
from convsmith.rewrite.lightening.report import LightenReport, NetworkFigures, RewrittenLayer
from convsmith.rewrite.lightening.settings import Run, Timing, Tuning
from convsmith.rewrite.lightening.tune.log import Epoch
from convsmith.rewrite.lightening.tune.loss import distil_loss
from convsmith.rewrite.recipe import Craft, load, read_recipe, register, save

__all__ = [
    "Certificate",
    "Dilated",
    "Epoch",
    "Equality",
    "LightenReport",
    "Lightened",
    "NetworkFigures",
    "RewrittenLayer",
    "Run",
    "Timing",
    "Tuning",
    "dilate",
    "distil_loss",
    "form_names",
    "lighten",
    "load",
    "read_recipe",
    "save",
]


def __dir__() -> list[str]:
    return list(__all__)


# Recipes know neither craft: each says how its modules are written down and made again.
register(Craft("layers", _lighter.describe, _lighter.redo))
register(Craft("dilations", _dilated.describe, _dilated.redo))
