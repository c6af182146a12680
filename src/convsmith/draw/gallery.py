"""Every kind of picture in one folder, with a page that shows them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from convsmith.draw.catalogue import catalogue
from convsmith.draw.example import SECTIONS, Example
from convsmith.draw.markup import page_colours
from convsmith.draw.scenes.dressed import check_dress
from convsmith.draw.words import LANGUAGES, phrase, text
from convsmith.errors import ArgumentError
from convsmith.report.saving import save_text
from convsmith.report.text import escape

__all__ = ["gallery"]

_CSS = """\
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,'PingFang SC',\
'Microsoft YaHei','Noto Sans CJK SC',sans-serif}
main{max-width:80rem;margin:0 auto;padding:clamp(1rem,4vw,3rem)}
h1{font-size:clamp(1.5rem,4vw,2.2rem);line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.25rem;margin:3rem 0 1rem}
p{margin:0;color:var(--muted)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.25rem}
figure{margin:0;border:1px solid var(--faint);border-radius:.6rem;overflow:hidden;\
display:flex;flex-direction:column}
figure a{display:flex;align-items:center;justify-content:center;flex:1;padding:.25rem}
img{max-width:100%;height:auto;max-height:34rem}
figcaption{padding:.6rem .9rem .8rem;border-top:1px solid var(--faint);font-size:.92rem}
figcaption span{display:block}
figcaption span+span{color:var(--muted)}
a:focus-visible{outline:3px solid var(--blue);outline-offset:-3px}
"""


def gallery(
    folder: str | os.PathLike[str],
    *,
    language: str = "en",
    theme: str = "auto",
    force: bool = False,
    advance: Callable[[], None] | None = None,
) -> list[Path]:
    """Draw every picture and `index.html`; the same bytes every time.

    Args:
        folder: created if need be; must be empty unless `force` is true.
        language: of the pictures, `en` or `zh`; the captions are in both.
        theme: `auto` (the reader's), `light` or `dark`.
        force: whether files that exist may be replaced.
        advance: called after each picture.

    Raises:
        ArgumentError: a folder with files in it, or an unknown language or theme.
        MissingExtra: without Pillow, which the GIF and PNG pictures need.
    """
    check_dress(language, theme)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"{str(target)!r} is a file, and the gallery is a folder")
    if target.is_dir() and any(target.iterdir()) and not force:
        raise ArgumentError(f"{str(target)!r} is not empty; pass force=True to write in it")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"cannot make {str(target)!r}: {error.strerror}") from error
    examples = catalogue().examples
    paths = []
    for example in examples:
        file = target / example.file
        paths.append(example.make().save(file, force=force, language=language, theme=theme))
        if advance is not None:
            advance()
    page = target / "index.html"
    return [*paths, save_text(page, _page(examples, language, theme), force)]


def _page(examples: Sequence[Example], language: str, theme: str) -> str:
    first = LANGUAGES.index(language)
    tags = ("en", "zh-Hans")
    title = phrase(text("gallery.title", count=len(examples)), language)
    parts = []
    for section, names in SECTIONS.items():
        parts.append(f"<section><h2>{escape(names[first])}</h2>")
        parts.append('<div class="grid">')
        for example in examples:
            if example.section != section:
                continue
            both = (example.english, example.chinese)
            captions = "".join(
                f'<span lang="{tags[i]}">{escape(both[i])}</span>' for i in (first, 1 - first)
            )
            parts.append(
                f'<figure><a href="{example.file}"><img src="{example.file}" loading="lazy" '
                f'alt="{escape(both[first])}"></a><figcaption>{captions}</figcaption></figure>'
            )
        parts.append("</div></section>")
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{tags[first]}">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{page_colours(theme)}{_CSS}</style>",
            "</head>",
            "<body><main>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(phrase(text('gallery.about'), language))}</p>",
            *parts,
            "</main></body>",
            "</html>",
            "",
        ]
    )
