# ruff: noqa: RUF001 (Chinese stops are meant)
"""Words and numbers of a picture: how long they are, where they break, where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from numbers import Integral, Real
from typing import Any

from convsmith.draw.shapes import Overlay, Shape, hatched, runs
from convsmith.draw.storyboard import Panel, Storyboard
from convsmith.draw.words import LANGUAGES, Text, phrase, text
from convsmith.report.text import cells

__all__ = [
    "BELOW",
    "MARGIN",
    "captions",
    "head",
    "labels",
    "legend",
    "shown",
    "text_width",
    "title_width",
]

MARGIN = 16.0
"""Pixels left free around a picture."""

BELOW = 15.5
"""Pixels from a panel to the baseline of a label under it."""

_TITLE, _NOTE, _CAPTION, _LEGEND, _LABEL = 17.0, 13.0, 14.0, 12.5, 12.5
_LINE = 1.4
# Whole numbers up to here are shown in full, though they come as floats.
_WHOLE = 1e6
# Numbers from here on are rounded to whole ones.
_ROUND = 1000
# The mean width of a letter over its height, in the wider of the usual sans-serif faces.
_EM = 0.58
_SWATCH = 14.0
# What a line may end after: a Chinese character with the stop that follows it, a word, spaces.
_PARTS = re.compile(r"[\u2e80-\u9fff\uff00-\uffef][，。；：、]*|[^ \u2e80-\u9fff\uff00-\uffef]+| +")
# What stands between facts of a line.
_BETWEEN = " · "
_LEGENDS = ("window", "current", "stamped", "kept", "source", "tile", "halo", "field", "wrong",
            "held", "fresh", "gone", "shade", "veil", "padding", "gap", "zero", "cropped", "extra",
            "unread")  # fmt: skip


def shown(value: Any, room: int = 8) -> str:
    """A number as there is room for: whole ones in full, others to three digits or fewer.

    The sign takes no room: a negative number shows what the positive one does.

    >>> shown(-12), shown(0.12345), shown(float("-inf")), shown(2.0)
    ('−12', '0.123', '−∞', '2')
    >>> shown(-0.01834), shown(-0.01834, room=5)
    ('−0.0183', '−0.018')
    """
    if value is None:
        return ""
    if isinstance(value, Integral):
        digits = str(int(value))
    elif not isinstance(value, Real):
        digits = str(value)
    elif not isfinite(number := float(value)):
        digits = "-∞" if number < 0 else "∞" if number > 0 else "nan"
    elif number == int(number) and abs(number) < _WHOLE:
        digits = str(int(number))
    else:
        digits = str(round(number))
        if abs(number) < _ROUND:
            each = (f"{number:.{digits_}g}" for digits_ in (3, 2, 1))
            fitting = (one for one in each if len(one.lstrip("-")) <= room)
            digits = next(fitting, f"{number:.0e}")
    return digits.replace("-", "−")


def text_width(words: Text | str, size: float = _LABEL) -> float:
    """The pixels that a text may take, in the language where it takes most."""
    return _widest(words, size)


def title_width(words: Text) -> float:
    """The pixels that a title may take."""
    return _widest(words, _TITLE)


def head(scene: Storyboard, language: str, width: float, zoom: float) -> tuple[list[Shape], float]:
    """The title and the lines of facts, and where they end."""
    title, size = _TITLE * zoom, _NOTE * zoom
    y = MARGIN + title * 0.8
    shapes = [Shape("text", "heading", (MARGIN, y), phrase(scene.title, language), title, "start")]
    y += 6 * zoom
    lines = {
        each: [line for note in scene.notes for line in _wrapped(phrase(note, each), width, size)]
        for each in LANGUAGES
    }
    for index, line in enumerate(lines[language]):
        place = (MARGIN, y + (index + 1) * size * _LINE - 2)
        shapes.append(Shape("text", "quiet", place, line, size, "start"))
    return shapes, y + max(map(len, lines.values())) * size * _LINE + 14


def captions(
    scene: Storyboard, language: str, width: float, y: float, zoom: float
) -> tuple[list[Overlay], float]:
    """What each step says, from `y` down, and where the longest ends."""
    texts = [step.caption for step in scene.steps]
    size = _CAPTION * zoom
    layers = []
    for caption, steps in runs(texts):
        lines = _wrapped(phrase(caption, language), width, size)
        shapes = tuple(
            Shape("text", "text", (MARGIN, y + index * size * _LINE + size), line, size, "start")
            for index, line in enumerate(lines)
        )
        layers.append(Overlay(shapes, steps))
    return layers, y + _most_lines(texts, width, size) * size * _LINE + 14


def legend(
    scene: Storyboard, language: str, width: float, y: float, zoom: float
) -> tuple[list[Shape], float]:
    """What the marks and cells that occur mean, from `y` down, and where that ends."""
    used = {mark.role for step in scene.steps for mark in step.marks if mark.cells}
    for panel in scene.panels:
        for cell in panel.cells:
            used.update(cell.role.split())
    for kind in ("shade", "veil"):
        used |= {kind} if any(role.startswith(kind) for role in used) else set()
    shapes: list[Shape] = []
    x, size, side = MARGIN, _LEGEND * zoom, _SWATCH * zoom
    keys = [key for key in _LEGENDS if key in used]
    for key in keys:
        words = text(f"legend.{key}")
        wide = side + 7 + _widest(words, size)
        if x > MARGIN and x + wide > MARGIN + width:
            x, y = MARGIN, y + side + 8
        swatch = (x, y, side, side)
        shapes.append(Shape("rect", "padding" if key == "unread" else key, swatch))
        if key in ("unread", "cropped"):
            shapes.append(Shape("lines", "hatch", hatched(swatch)))
        place = (x + side + 6, y + side / 2 + size * 0.36)
        shapes.append(Shape("text", "quiet", place, phrase(words, language), size, "start"))
        x += wide + 14
    return shapes, y + (side + 8 if keys else 0)


def labels(panels: Iterable[Panel], language: str) -> Iterable[Shape]:
    """The names of the panels."""
    for panel in panels:
        if panel.label is not None:
            y = panel.y - 6 if not panel.label_below else panel.y + panel.height + BELOW
            place = (panel.x + panel.width / 2, y)
            yield Shape("text", "quiet", place, phrase(panel.label, language), _LABEL)


def _widest(words: Text | str, size: float) -> float:
    return max(cells(phrase(words, language)) for language in LANGUAGES) * size * _EM


def _wrapped(words: str, width: float, size: float) -> list[str]:
    """Break a text into lines: between its facts, where one fits on a line.

    Within a fact, Latin breaks at its spaces, Chinese between any two characters.
    """
    room = int(width / (size * _EM))
    lines: list[str] = []
    for fact in words.split(_BETWEEN):
        if lines and cells(lines[-1] + _BETWEEN + fact) <= room:
            lines[-1] += _BETWEEN + fact
        else:
            lines += _broken(fact, room)
    return lines


def _broken(words: str, room: int) -> list[str]:
    lines, line = [], ""
    for part in _PARTS.findall(words):
        if cells(line + part.rstrip()) > room and line.strip():
            lines.append(line.strip())
            line = ""
        line += part
    return [*lines, line.strip()] if line.strip() or not lines else lines


def _most_lines(words: Iterable[Text], width: float, size: float) -> int:
    return max(
        (
            len(_wrapped(phrase(one, language), width, size))
            for one in words
            for language in LANGUAGES
        ),
        default=0,
    )
