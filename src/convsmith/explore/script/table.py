"""A script as a table: each line, the weight of its layer, the shape that it gives."""

from __future__ import annotations

from convsmith.explore.panels import note, problem_panel, table
from convsmith.explore.phrases import Language, phrase
from convsmith.explore.script.interpreter import read_script
from convsmith.explore.script.rows import Row

__all__ = ["EXAMPLE", "script_panel", "script_rows"]

EXAMPLE = """\
image = torch.rand(3, 128, 128)
x = image.unsqueeze(0)
x.shape[1]
dw = nn.Conv2d(3, 3, 3, groups=x.shape[1])
y = dw(x)
pw = nn.Conv2d(3, 10, 1)
z = pw(y)
z.squeeze(0)
"""
"""A depthwise separable convolution, line by line."""


def script_rows(rows: list[Row]) -> list[tuple[str, str, str]]:
    """The cells of the table: the line, the weight, what it gives.

    >>> script_rows(read_script("x = torch.rand(3, 8, 8)"))
    [('x = torch.rand(3, 8, 8)', '–', '(3, 8, 8)')]
    """
    return [
        (row.line, _written(row.weight), row.value or _written(row.shape))
        for row in rows if not row.refusal
    ]  # fmt: skip


def script_panel(code: str, language: Language) -> str:
    """What every line gives, and, where one is refused, the line that says why.

    >>> "(1, 8, 6, 6)" in script_panel("nn.Conv2d(3, 8, 3)(torch.rand(1, 3, 8, 8))", "en")
    True
    """
    rows = read_script(code)
    if not rows:
        return note(phrase("code empty", language))
    heads = [phrase(key, language) for key in ("code line", "code weight", "code shape")]
    cells = script_rows(rows)
    shown = table(heads, cells) if cells else ""
    last = rows[-1]
    if last.refusal is None:
        return shown
    why = phrase("code at", language, number=last.number, line=last.line,
                 reason=last.refusal.said(language))  # fmt: skip
    return shown + problem_panel(why)


def _written(shape: tuple[int, ...] | None) -> str:
    return "–" if shape is None else str(tuple(shape))
