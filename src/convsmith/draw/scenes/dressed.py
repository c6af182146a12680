"""A scene in the language and theme that its caller asks for."""

from __future__ import annotations

from dataclasses import replace

from convsmith.arithmetic.normalise import choice
from convsmith.draw.palette import THEMES
from convsmith.draw.scene import Scene
from convsmith.draw.words import LANGUAGES

__all__ = ["check_dress", "dressed"]


def check_dress(language: str, theme: str) -> None:
    """Refuse an unknown language or theme before a scene is built."""
    choice("language", language, LANGUAGES)
    choice("theme", theme, THEMES)


def dressed(scene: Scene, language: str, theme: str) -> Scene:
    """The scene, shown in `language` and `theme` unless a renderer is given others."""
    check_dress(language, theme)
    return replace(scene, language=language, theme=theme)
