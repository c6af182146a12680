"""A map of how much, such as a gradient over the image, in the shades of one colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, sqrt

from convsmith.errors import ArgumentError
from convsmith.report.drawing import WIDTH, drawing, path, units
from convsmith.report.formats import shape
from convsmith.report.style import PICTURE_CSS
from convsmith.report.text import escape

__all__ = ["map_picture"]

_BLOCKS, _LEVELS = 90, 16
_CELL, _SHARP, _STRIP, _LINE = 22, 5, 26, 22
_KINDS = ("frame", "mark", "dots")

Range = tuple[float, float]
"""Begin and end, in positions."""


def map_picture(
    values: Sequence[Sequence[float]],
    boxes: Iterable[tuple[str, Range, Range]] = (),
    *,
    title: str = "Map",
) -> str:
    """Draw a map of values of at least 0, its shade as the root of the value, boxes over it.

    Large maps are drawn in blocks of their means.

    Args:
        values: rows of the map; a single row is drawn as a strip.
        boxes: a name, rows and columns of each, in positions; parts outside the map are left out.
            The first is dashed, the second solid, the third dotted.
        title: what is drawn; not shown, read out and shown on hovering.

    Raises:
        ArgumentError: no values, rows of unequal length, or a value below 0 or not finite.

    >>> svg = map_picture([[0, 1], [4, 0]], [("the lower row", (1, 2), (0, 2))])
    >>> svg.count("<path"), "the lower row" in svg
    (2, True)
    """
    rows, columns = len(values), len(values[0]) if values else 0
    if not columns or any(len(row) != columns for row in values):
        raise ArgumentError("a map needs values, as many in each row")
    if not all(0 <= value < float("inf") for row in values for value in row):
        raise ArgumentError("a map is of finite values of at least 0")
    side = -(-max(rows, columns) // (_BLOCKS if rows > 1 else WIDTH))
    blocks = _means(values, side)
    peak = max(map(max, blocks)) or 1.0
    cell = min(_CELL, (WIDTH - 2) / max(rows, columns))
    # Whole pixels per cell look sharp; with smaller cells, space matters more.
    cell = int(cell) if cell >= _SHARP else cell
    down = cell if rows > 1 else _STRIP
    shades: list[list[tuple[float, float, float, float]]] = [[] for _ in range(_LEVELS)]
    for i, row in enumerate(blocks):
        for j, value in enumerate(row):
            if value > 0:
                level = ceil(_LEVELS * sqrt(value / peak))
                shades[level - 1].append(
                    (
                        j * side,
                        i * side,
                        min(side, columns - j * side),
                        min(side, rows - i * side),
                    )
                )
    parts = [
        f'<g transform="translate(1 1) scale({cell:.6g} {down:.6g})" shape-rendering="crispEdges">'
    ]
    for level, cells in enumerate(shades, 1):
        if cells:
            shade = units(level / _LEVELS)
            parts.append(f'<path class="s0" fill-opacity="{shade}" d="{path(cells)}"/>')
    parts.append("</g>")
    parts.append(_rect("box", (0, rows), (0, columns), cell, down))
    y = rows * down + 14
    descriptions = [f"map of {shape((rows, columns) if rows > 1 else (columns,))}"]
    for index, (name, tall, wide) in enumerate(boxes):
        kind = _KINDS[index % len(_KINDS)]
        high = (max(0.0, tall[0]), min(float(rows), tall[1]))
        broad = (max(0.0, wide[0]), min(float(columns), wide[1]))
        parts += [_rect("rim", high, broad, cell, down), _rect(kind, high, broad, cell, down)]
        parts.append(
            f'<line class="{kind}" x1="0" x2="22" y1="{units(y + 10)}" y2="{units(y + 10)}"/>'
        )
        parts.append(f'<text class="small" x="30" y="{units(y + 15)}">{escape(name)}</text>')
        descriptions.append(name)
        y += _LINE
    return drawing(parts, y, title, "; ".join(descriptions), width=WIDTH, css=PICTURE_CSS)


def _means(values: Sequence[Sequence[float]], side: int) -> list[list[float]]:
    found = []
    for i in range(0, len(values), side):
        rows = values[i : i + side]
        line = []
        for j in range(0, len(values[0]), side):
            cells = [float(value) for row in rows for value in row[j : j + side]]
            line.append(sum(cells) / len(cells))
        found.append(line)
    return found


def _rect(kind: str, rows: Range, columns: Range, cell: float, down: float) -> str:
    return (
        f'<rect class="{kind}" x="{units(1 + columns[0] * cell)}" y="{units(1 + rows[0] * down)}" '
        f'width="{units((columns[1] - columns[0]) * cell)}" '
        f'height="{units((rows[1] - rows[0]) * down)}"/>'
    )
