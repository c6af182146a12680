"""The pictures of `convsmith draw gallery` as pages of this site, one in each language."""

from __future__ import annotations

import re
from html import escape

from convsmith.draw.catalogue import catalogue
from convsmith.draw.example import SECTIONS, Example
from convsmith.draw.words import LANGUAGES

HEADS = {
    "en": (
        "# Gallery",
        "English · [中文](zh/gallery.md)",
        "All of these are one command: `convsmith draw gallery FOLDER`.",
    ),
    "zh": (
        "# 图库",
        "[English](../gallery.md) · 中文",
        "所有这些图只需一条命令：`convsmith draw gallery FOLDER --language zh`。",  # noqa: RUF001
    ),
}
# The others are the same again, as GIF and PNG.
SHOWN = [example for example in catalogue().examples if example.suffix == ".svg"]


def gallery() -> dict[str, str]:
    """The files of both galleries: paths below the pages', and what is in them."""
    made = {}
    scenes = [(entry, entry.make()) for entry in SHOWN]
    for at, language in enumerate(LANGUAGES):
        base = "" if language == "en" else f"{language}/"
        pictures = {entry.file: scene.svg(language=language) for entry, scene in scenes}
        made |= {f"{base}gallery/{file}": svg for file, svg in pictures.items()}
        made[f"{base}gallery.md"] = _page(language, at, pictures)
    return made


def _page(language: str, at: int, pictures: dict[str, str]) -> str:
    # The pictures need the room of both margins.
    parts = ["---\nhide: [navigation, toc]\n---", *HEADS[language]]
    for section, names in SECTIONS.items():
        entries = [entry for entry in SHOWN if entry.section == section]
        figures = "".join(_figure(entry, at, pictures[entry.file]) for entry in entries)
        parts.append(f'## {names[at]}\n\n<div class="gallery">{figures}</div>')
    return "\n\n".join(parts) + "\n"


def _figure(entry: Example, at: int, svg: str) -> str:
    caption = escape((entry.english, entry.chinese)[at])
    # So that nothing moves when a picture is loaded.
    size = re.search(r'width="[\d.]+" height="[\d.]+"', svg)
    return (
        f'<figure><img src="{entry.file}" alt="{caption}" {size[0] if size else ""} loading="lazy">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
