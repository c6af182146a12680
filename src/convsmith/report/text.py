"""Text in a fixed number of terminal cells: cleaned, measured, shortened, wrapped."""

from __future__ import annotations

import html
from unicodedata import category, east_asian_width

__all__ = ["cells", "clean", "escape", "in_cell", "one_line", "pad", "shorten", "wrap"]

ELLIPSIS = "…"
# Joiners carry meaning in Persian, the Indic scripts and emoji; other invisible characters do not.
_JOINERS = "\u200c\u200d"
# What a spreadsheet takes for the beginning of a formula, also in the width of Chinese signs.
_FORMULAS = ("=", "+", "-", "@", *"\uff1d\uff0b\uff0d\uff20")


def clean(text: str) -> str:
    r"""Make control characters visible, so that a name cannot drive a terminal or break a line.

    >>> clean("conv\x1b[31m\n"), clean("a\u00a0b")
    ('conv\\x1b[31m\\n', 'a b')
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def escape(text: str) -> str:
    """A text that stands for itself in HTML and SVG, also inside a quoted attribute.

    >>> escape("<script>")
    '&lt;script&gt;'
    """
    return html.escape(clean(text))


def in_cell(text: str) -> str:
    r"""A text for a cell of a CSV file: a spreadsheet shows it, and never computes it.

    Control characters become visible, and what would be a formula begins with an apostrophe;
    a number stays one.

    >>> in_cell("conv1"), in_cell("-1.5"), in_cell("=1+1"), in_cell("a\nb")
    ('conv1', '-1.5', "'=1+1", 'a\\nb')
    """
    text = clean(text)
    if not text.lstrip().startswith(_FORMULAS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def one_line(text: str) -> str:
    """A text with every run of white space, line breaks included, made one space."""
    return " ".join(text.split())


def cells(text: str) -> int:
    """The number of terminal cells a text fills: wide characters fill two, marks none.

    >>> cells("conv1"), cells("卷积"), cells("e\u0301")
    (5, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def shorten(text: str, width: int) -> str:
    """Leave out the middle of a text that is too long: both ends of a path tell more.

    >>> shorten("backbone.layer4.2.conv3", 15)
    'backbon…2.conv3'
    """
    if cells(text) <= width:
        return text
    head = _take(text, (width - 1) // 2)
    tail = _take(text[::-1], width - 1 - cells(head))[::-1]
    return f"{head}{ELLIPSIS}{tail}"


def wrap(text: str, width: int) -> list[str]:
    """Break a text at its spaces into lines, and a word that is too long where it must be.

    >>> wrap("two convolutions in a row", 12)
    ['two', 'convolutions', 'in a row']
    """
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cells(joined) <= width:
            lines[-1] = joined
            continue
        if not lines[-1]:
            lines.pop()
        while cells(word) > width:
            # A character wider than the line still has to go somewhere.
            part = _take(word, width) or word[0]
            lines.append(part)
            word = word[len(part) :]
        lines.append(word)
    return lines


def pad(text: str, width: int, align: str) -> str:
    """Fill a text up with spaces to `width` cells."""
    space = " " * (width - cells(text))
    return space + text if align == "right" else text + space


def _take(text: str, width: int) -> str:
    """As many of the first characters as fit."""
    if text.isascii():
        return text[: max(0, width)]
    used = 0
    for index, character in enumerate(text):
        used += _cells(character)
        if used > width:
            return text[:index]
    return text


def _cells(character: str) -> int:
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")
