"""Small pictures of sheets and of what a network says of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from convsmith.report.drawing import path

__all__ = ["sheets"]

_CLASSES = ("#1d2733", "#7cc4f0", "#f0962e")
_PIXEL = 4


def sheets(columns: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Sheets side by side, a row each, as HTML.

    Args:
        columns: a heading and its sheets, (N, rows, columns), each: classes (whole numbers) or
            values from 0 to 1.
    """
    pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
    heads = "".join(f"<figcaption>{escape(name)}</figcaption>" for name, _ in pairs)
    rows = zip(*(values.tolist() for _, values in pairs), strict=True)
    drawn = "".join(_sheet(sheet) for row in rows for sheet in row)
    return f'<div class="cs-sheets" style="--columns:{len(columns)}">{heads}{drawn}</div>'


def _sheet(values: Sequence[Sequence[float]]) -> str:
    classes = all(isinstance(value, int) for row in values for value in row)
    levels: dict[str, list[tuple[float, float, float, float]]] = {}
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            colour = _CLASSES[int(value)] if classes else _grey(value)
            levels.setdefault(colour, []).append((j, i, 1, 1))
    parts = "".join(f'<path fill="{fill}" d="{path(rects)}"/>' for fill, rects in levels.items())
    size = f"{len(values[0])} {len(values)}"
    return (
        f'<svg viewBox="0 0 {size}" width="{len(values[0]) * _PIXEL}" role="img" '
        f'shape-rendering="crispEdges" aria-hidden="true">{parts}</svg>'
    )


def _grey(value: float) -> str:
    level = round(15 * min(1.0, max(0.0, value))) * 17
    return f"#{level:02x}{level:02x}{level:02x}"
