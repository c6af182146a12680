"""Convolutions drawn as scenes: from plain data, without torch and without numpy."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from convsmith.draw.catalogue import catalogue
from convsmith.draw.live.stage import Stage
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.animate import animate
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
from convsmith.draw.scenes.stage import stage

__all__ = [
    "Scene",
    "Stage",
    "animate",
    "bands",
    "card",
    "cone",
    "cost_areas",
    "effective_over",
    "field_over",
    "halo",
    "im2col",
    "matrix",
    "mixing",
    "paths",
    "separable",
    "stage",
]

# No scene is drawn before its words are known.
catalogue()


def __dir__() -> list[str]:
    return list(__all__)


if not _TYPE_CHECKING:

    def __getattr__(name: str) -> _Any:
        """A scene that is not listed above, which type checkers do not know."""
        function = catalogue().function(name)
        if function is None:
            raise AttributeError(f"module 'convsmith.draw' has no attribute {name!r}")
        return function
