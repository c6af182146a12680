"""The page of a stage: its words, its style, its script and its data in one file."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import ascii_letters, digits
from typing import Any

from convsmith.draw.markup import literal, page_colours
from convsmith.draw.words import WORDS, Text, phrase, text
from convsmith.report.text import escape

__all__ = ["page"]

_SCRIPTS = ("arithmetic.js", "picture.js", "hand.js")
# What a page has besides where it shows a matrix: script, style and a place.
_MATRIX = "matrix.js"
_MATRIX_STYLE = ".sheet{flex:none;overflow:auto;max-height:40vh;padding:4px 0}"
_MATRIX_PLACE = (
    '<div class="sheet"><svg class="matrix picture" tabindex="0" role="application"></svg></div>\n'
)
_TEXTS = r"""("[^"\n]*"|`[^`]*`)"""
# What says nothing to a browser, and what is written instead. Texts are matched first, and stay.
_SAVINGS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(_TEXTS + r"""|\bconst\b"""), lambda match: match[1] or "let"),
    (re.compile(_TEXTS + r"""|\bInfinity\b"""), lambda match: match[1] or "1/0"),
    (re.compile(_TEXTS + r"""|\bundefined\b"""), lambda match: match[1] or "void 0"),
    (re.compile(_TEXTS + r"""|\btrue\b"""), lambda match: match[1] or "!0"),
    (re.compile(_TEXTS + r"""|\bfalse\b"""), lambda match: match[1] or "!1"),
    (re.compile(_TEXTS + r"""|\bNumber(\.isFinite)"""), lambda match: match[1] or "isFinite"),
    (re.compile(_TEXTS + r"""|(?<![\w.])0(\.\d)"""), r"\1\2"),
    (re.compile(_TEXTS + r"""|\s*([=*<>?:,;{}()&|%])\s*"""), r"\1\2"),
    (re.compile(_TEXTS + r"""|(?<=[\w)\]]) ([-+/]) (?=[\w(\["])"""), r"\1\2"),
    (re.compile(_TEXTS + r"""|\b(let|of|in|return) (?=[\[`"!])"""), r"\1\2"),
    (re.compile(_TEXTS + r"""|;(})"""), r"\1\2"),
    (re.compile(_TEXTS + r"""|(?<!\w)\((\w+)\)(?==>)"""), r"\1\2"),
)
# Names of the scripts' own, shortened: none stands in a text, in the data or in another script.
_OWN = (
    "layer", "selected", "depth", "pinned", "plane", "plain", "BETWEEN", "ins_of", "outputs",
    "across", "outs_of", "operands", "tapCorner", "textWidth", "weightIndex", "planes", "marks",
    "pads", "padded", "slotted", "divisors", "columns", "upright", "rows", "axis", "wide",
    "small", "inside", "above", "below", "refresh", "changes", "boxes", "slot", "around",
    "counted", "arrange", "message", "writeKernel", "weightPlace", "sourceIndex", "fromAddress",
    "nowhere", "LEGIBLE", "bracket", "many", "lines", "part", "windows", "extent", "lattice",
    "filled", "index", "event", "square", "unrolled", "term", "stop", "fontSize", "waiting",
    "period", "limit", "aloud", "room", "near", "toAddress", "slices", "placed", "mapName",
    "largest", "finish", "walked", "images", "stops", "lefts", "clamp", "brackets", "stepOf",
    "reveal", "gutter", "best", "labels", "anchor", "visit", "usual", "numeral", "measure",
    "level", "divisor", "theMap", "lookBack", "longer", "folded", "reading", "compute", "clamped",
    "legible", "trial", "tall", "grow", "flip", "depths", "centre", "tenths", "down", "LINE",
    "names", "heads", "shown", "texts", "positions", "most", "column", "context", "cells",
)  # fmt: skip
_LETTERS = (f"{mark}{letter}" for mark in "$_" for letter in ascii_letters + digits)
_SHORT = dict(zip(_OWN, _LETTERS, strict=False))
_NAMES = re.compile(rf"\b({'|'.join(_OWN)})\b")
# The words of other scenes that the page shares.
_SHARED = (
    "title.standard", "title.grouped", "title.depthwise", "title.pointwise", "title.dilated",
    "title.dilated_depthwise", "title.causal", "title.transposed", "title.max", "title.average",
    "fact.kernel", "fact.window", "fact.stride", "fact.dilation", "fact.padding", "fact.groups",
    "fact.output_padding", "fact.sides1", "fact.sides2", "fact.reflect",
    "fact.replicate", "fact.circular", "control.play", "control.pause", "control.back",
    "control.next", "control.position", "legend.padding", "legend.window",
    "panel.the_input", "panel.the_output", "panel.kernel_number",
)  # fmt: skip


def page(data: dict[str, Any]) -> str:
    """The page, in both languages; it opens in the stage's.

    Args:
        data: what `Stage.to_dict` gives.
    """
    matrix = bool(data.get("matrix"))
    constants = {"STAGE": data, "WORDS": _words(matrix)}
    literals = (f"{name}={literal(value, compact=True)}" for name, value in constants.items())
    script = f'"use strict";const {",".join(literals)};\n{_code(matrix)}'
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "img-src data: blob:"
    )
    language = data["language"]
    title = data["title"][language] if data["title"] else phrase(_title(data), language)
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{"zh-Hans" if language == "zh" else language}">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{page_colours(data['theme'])}{_style()}{_MATRIX_STYLE * matrix}</style>",
            "</head>",
            "<body>",
            _BODY.replace(_DOCK, _MATRIX_PLACE * matrix + _DOCK),
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _title(data: dict[str, Any]) -> Text:
    """What a stage is called that has no title of its own."""
    layers = data["layers"]
    if len(layers) > 1:
        return text("stage.layers", count=len(layers))
    return text(f"title.{layers[0]['name']}")


_DOCK = '<div class="dock">'
_BODY = """\
<main>
<header><h1 class="title"></h1><p class="facts"></p>
<button type="button" class="other">&nbsp;</button></header>
<div class="frame"><svg class="picture" tabindex="0" role="application"></svg>
<input class="editor" autocomplete="off" hidden></div>
<div class="dock">
<div class="legend"></div>
<div class="said"><p class="result"></p><p class="sum" tabindex="0" role="group"></p>
<p class="note"></p></div>
<div class="bar"><button type="button" class="play"></button>
<button type="button" class="back">←</button><button type="button" class="next">→</button>
<input type="range" class="position" min="0" value="0">
<button type="button" class="reset"></button></div>
<p class="hint"></p>
<p class="spoken" role="status"></p>
</div>
</main>"""


@cache
def _file(name: str) -> str:
    return files("convsmith.draw.live").joinpath(name).read_text("utf-8")


@cache
def _code(matrix: bool = False) -> str:
    """The scripts without comments, indents and the spaces around operators."""
    scripts = (_MATRIX, *_SCRIPTS) if matrix else _SCRIPTS
    lines = (line.strip() for name in scripts for line in _file(name).splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    for pattern, kept in _SAVINGS:
        code = pattern.sub(kept, code)
    return _NAMES.sub(lambda match: _SHORT[match[1]], code.replace('"stage.', '".'))


@cache
def _style() -> str:
    """The style without the spaces and line ends that no rule needs."""
    return re.sub(r"\s*([{};,])\s*|\n", r"\1", _file("stage.css"))


def _words(matrix: bool = False) -> dict[str, tuple[str, str]]:
    """The words that the page uses: English and Chinese by key."""
    own = ("stage.", "matrix.") if matrix else "stage."
    return {
        key.removeprefix("stage"): both
        for key, both in WORDS.items()
        if key in _SHARED or key.startswith(own)
    }
