"""A report as one HTML file that needs nothing else: no network, no fonts, no script to be read.

>>> page = Page("ResNet-50", [Section("Cost", [Facts([("parameters", "25,557,032")])])])
>>> page.html().splitlines()[0], "http" in page.html().replace("http-equiv", "")
('<!doctype html>', False)
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from convsmith.errors import ArgumentError
from convsmith.report.saving import save_text
from convsmith.report.style import PAGE_CSS, SORT
from convsmith.report.table import Table
from convsmith.report.text import escape, one_line

__all__ = ["Facts", "Figure", "Page", "Part", "Section"]


@dataclass(frozen=True)
class Figure:
    """A drawing of ours: SVG that is trusted and set into the page as it is, and its caption."""

    svg: str
    caption: str = ""

    def html(self) -> str:
        r"""The figure as HTML.

        >>> Figure('<svg xmlns="http://www.w3.org/2000/svg"/>', "one tap").html()
        '<figure class="figure">\n<svg/>\n<figcaption>one tap</figcaption>\n</figure>'
        """
        # HTML knows SVG by its tag; the name space is for files of their own.
        svg = self.svg.strip().replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
        text = escape(one_line(self.caption))
        caption = f"<figcaption>{text}</figcaption>\n" if text else ""
        return f'<figure class="figure">\n{svg}\n{caption}</figure>'


@dataclass(frozen=True, init=False)
class Facts:
    """A few figures that matter most, as cards: (label, value) or (label, value, detail) each."""

    items: tuple[tuple[str, ...], ...]

    def __init__(self, items: Iterable[tuple[str, str] | tuple[str, str, str]]) -> None:
        object.__setattr__(self, "items", tuple(items))
        for item in self.items:
            if isinstance(item, str) or len(item) not in (2, 3):
                raise ArgumentError(
                    f"a fact is (label, value) or (label, value, detail), not {item!r}"
                )

    def html(self) -> str:
        """The cards as HTML."""
        cards = []
        for label, value, *detail in self.items:
            more = "".join(f"<dd>{escape(text)}</dd>" for text in detail if text)
            cards.append(
                f'<div><dt>{escape(label)}</dt><dd class="value">{escape(value)}</dd>{more}</div>'
            )
        return '<dl class="facts">\n' + "\n".join(cards) + "\n</dl>"


Part = str | Table | Figure | Facts
"""What a section holds; a string is a paragraph."""


@dataclass(frozen=True, init=False)
class Section:
    """A heading, or None at the start of a page, and what stands under it."""

    heading: str | None
    parts: tuple[Part, ...]

    def __init__(self, heading: str | None, parts: Part | Iterable[Part]) -> None:
        object.__setattr__(self, "heading", heading)
        object.__setattr__(self, "parts", (parts,) if isinstance(parts, Part) else tuple(parts))
        for part in self.parts:
            if not isinstance(part, Part):
                raise ArgumentError(
                    f"section {heading!r}: a part is a paragraph, Table, Figure or Facts, not "
                    f"{type(part).__name__}"
                )

    def html(self) -> str:
        """The section as HTML."""
        head = [] if self.heading is None else [f"<h2>{escape(one_line(self.heading))}</h2>"]
        return "\n".join(["<section>", *head, *map(_html, self.parts), "</section>"])


@dataclass(frozen=True, init=False, repr=False)
class Page:
    """A page: a title, sections, and the language (BCP 47) they are written in.

    Raises:
        ArgumentError: if there is no title, or `language` is not a language tag.
    """

    title: str
    sections: tuple[Section, ...]
    language: str

    def __init__(self, title: str, sections: Iterable[Section], language: str = "en") -> None:
        if not title.strip():
            raise ArgumentError("a page needs a title")
        if not re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", language):
            raise ArgumentError(
                f"language must be a tag such as 'en' or 'zh-Hans', not {language!r}"
            )
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "sections", tuple(sections))
        object.__setattr__(self, "language", language)

    def __repr__(self) -> str:
        return f"Page({self.title!r}, {len(self.sections)} sections)"

    def html(self) -> str:
        """The whole page, the same bytes for the same content.

        Its policy lets it load nothing and run nothing but its own few lines that sort tables, so
        that not even a mistake in escaping could do harm.
        """
        title = escape(one_line(self.title))
        has_table = any(isinstance(part, Table) for s in self.sections for part in s.parts)
        digest = b64encode(sha256(SORT.encode()).digest()).decode()
        policy = (
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'"
        )
        return "\n".join(
            [
                "<!doctype html>",
                f'<html lang="{self.language}">',
                "<head>",
                '<meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="light dark">',
                '<meta name="generator" content="convsmith">',
                f"<title>{title}</title>",
                f"<style>\n{PAGE_CSS}</style>",
                "</head>",
                "<body>",
                "<main>",
                f"<h1>{title}</h1>",
                *(section.html() for section in self.sections),
                "</main>",
                *([f"<script>{SORT}</script>"] if has_table else []),
                "</body>",
                "</html>",
                "",
            ]
        )

    def save(self, path: str | os.PathLike[str], force: bool = False) -> Path:
        """Write the page, the whole of it or nothing.

        Raises:
            ArgumentError: `path` exists and `force` was not given, or cannot be a file.
        """
        return save_text(path, self.html(), force)


def _html(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{escape(one_line(part))}</p>"
    return part.to_html() if isinstance(part, Table) else part.html()
