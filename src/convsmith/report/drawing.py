"""What every drawing of ours starts from: its frame, and shapes that a browser need not look up.

Nothing here refers to anything by name (`url(#…)`, `href`), so several drawings share a page.
"""

from __future__ import annotations

from collections.abc import Iterable

from convsmith.report.style import CHART_CSS
from convsmith.report.text import escape, one_line, shorten

__all__ = ["WIDTH", "Rect", "drawing", "fitted", "hatch", "path", "units"]

Rect = tuple[float, float, float, float]
"""Left, top, width, height."""

WIDTH = 360
"""Pixels that a drawing of fixed width takes: what a telephone shows without shrinking the text."""


def drawing(
    parts: Iterable[str],
    height: float,
    title: str,
    description: str,
    *,
    width: int | None = None,
    css: str = CHART_CSS,
) -> str:
    """One SVG: as wide as what holds it, or `width` pixels where its shapes must keep their form.

    >>> drawing([], 20, "Nothing", "empty").splitlines()[1]
    '<title>Nothing</title>'
    """
    name = escape(one_line(title))
    size = f'width="100%" height="{units(height)}"'
    if width is not None:
        size = (
            f'width="{width}" height="{units(height)}" viewBox="0 0 {width} {units(height)}" '
            'style="height:auto"'
        )
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="cs-chart" role="img" '
            f'aria-label="{name}" {size}>',
            f"<title>{name}</title>",
            f"<desc>{escape(one_line(description))}</desc>",
            f"<style>{css}</style>",
            *parts,
            "</svg>",
        ]
    )


def fitted(text: str, characters: int) -> str:
    """A label that fits, and the whole of it on hovering where it did not."""
    short = shorten(one_line(text), characters)
    whole = f"<title>{escape(one_line(text))}</title>" if short != one_line(text) else ""
    return whole + escape(short)


def units(value: float) -> str:
    """A coordinate: at most three decimals, without trailing zeros.

    >>> units(12.0), units(1 / 3), units(-0.0001)
    ('12', '0.333', '0')
    """
    return f"{round(value, 3) + 0.0:.3f}".rstrip("0").rstrip(".")


def path(rects: Iterable[Rect]) -> str:
    """Rectangles as the data of one path.

    >>> path([(0, 0, 3, 1), (4, 0, 1, 1)])
    'M0 0h3v1h-3zM4 0h1v1h-1z'
    """
    return "".join(
        f"M{units(x)} {units(y)}h{units(w)}v{units(h)}h{units(-w)}z" for x, y, w, h in rects
    )


def hatch(rect: Rect, step: float = 6) -> str:
    """Lines that rise to the right, within a rectangle, as the data of a path.

    They are those of one plane full of lines, so the hatching of neighbours joins.

    >>> hatch((0, 0, 6, 6))
    'M0 6L6 0'
    """
    left, top, width, height = rect
    right, bottom = left + width, top + height
    lines = []
    # A line holds the points with x + y = total.
    index = int((left + top) // step) + 1
    while (total := index * step) < right + bottom:
        start = max(left, total - bottom)
        end = min(right, total - top)
        lines.append(f"M{units(start)} {units(total - start)}L{units(end)} {units(total - end)}")
        index += 1
    return "".join(lines)
