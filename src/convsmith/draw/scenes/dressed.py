"""A scene in the language and theme that its caller asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from convsmith.arithmetic.normalise import choice
from convsmith.draw.live.stage import Stage
from convsmith.draw.palette import THEMES
from convsmith.draw.scene import Scene
from convsmith.draw.words import LANGUAGES

__all__ = ["check_dress", "dressed"]

Drawing = TypeVar("Drawing", bound=Scene | Stage)


def check_dress(language: str, theme: str) -> None:
    """Refuse an unknown language or theme before a scene is built."""
    choice("language", language, LANGUAGES)
    choice("theme", theme, THEMES)


def dressed(scene: Drawing, language: str, theme: str) -> Drawing:
    """The scene or stage, shown in `language` and `theme` unless a renderer is given others."""
    check_dress(language, theme)
    return replace(scene, language=language, theme=theme)
