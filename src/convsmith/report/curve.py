"""A curve through measured points, such as accuracy against milliseconds, as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, isfinite, log10

from convsmith.errors import ArgumentError
from convsmith.report.drawing import WIDTH, drawing, units
from convsmith.report.formats import Number, number
from convsmith.report.style import PICTURE_CSS
from convsmith.report.text import escape

__all__ = ["curve"]

# In pixels: what the numbers beside and below the axes take, and the plane between them.
_LEFT, _RIGHT, _TOP, _HEIGHT, _BELOW = 58, 14, 26, 190, 42
_TICKS = 4
_CSS = (
    ".cs-chart .line{fill:none;stroke:#0072b2;stroke-width:2}.cs-chart .rule{stroke:currentColor;"
    "opacity:.16}@media screen and (prefers-color-scheme:dark){.cs-chart .line{stroke:#56b4e9}}"
)


def curve(
    points: Sequence[tuple[float, float]],
    x: str,
    y: str,
    *,
    title: str = "",
    format: Callable[[Number], str] = number,
) -> str:
    """Draw points, joined from left to right.

    Args:
        points: values along `x` and `y` each.
        x: what is drawn to the right, with its unit.
        y: what is drawn upwards.
        title: what the chart shows; not drawn, read out and shown on hovering.
        format: turns a value along `y` into its text.

    Raises:
        ArgumentError: for no points, or one that is not finite.

    >>> svg = curve([(1.0, 0.90), (2.0, 0.93)], "ms", "accuracy")
    >>> svg.count("<circle"), "2.00 ms: 0.930" in svg
    (2, True)
    """
    if not points or not all(isfinite(value) for point in points for value in point):
        raise ArgumentError(f"a curve needs finite points, not {list(points)}")
    ordered = sorted(points)
    across = _ticks(0.0, ordered[-1][0])
    up = _ticks(min(b for _, b in ordered), max(b for _, b in ordered))
    right = WIDTH - _RIGHT

    def place(a: float, b: float) -> tuple[float, float]:
        wide = (a - across[0]) / (across[-1] - across[0])
        high = (b - up[0]) / (up[-1] - up[0])
        return _LEFT + wide * (right - _LEFT), _TOP + (1 - high) * _HEIGHT

    parts = [f'<text class="heading" x="0" y="14">{escape(y)}</text>']
    for tick in up:
        _, at = place(across[0], tick)
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{right}" y1="{units(at)}" y2="{units(at)}"/>'
            f'<text class="small value" x="{_LEFT - 8}" y="{units(at + 4)}" text-anchor="end">'
            f"{escape(format(tick))}</text>"
        )
    base = _TOP + _HEIGHT
    for tick in across:
        at, _ = place(tick, up[0])
        parts.append(
            f'<text class="small value" x="{units(at)}" y="{base + 18}" text-anchor="middle">'
            f"{escape(number(tick))}</text>"
        )
    parts.append(f'<text class="small" x="{right}" y="{base + 36}" text-anchor="end">{escape(x)}'
                 "</text>")  # fmt: skip
    spots = [place(*point) for point in ordered]
    line = "L".join(f"{units(a)} {units(b)}" for a, b in spots)
    parts.append(f'<path class="line" d="M{line}"/>')
    descriptions = []
    for (a, b), (left, top) in zip(ordered, spots, strict=True):
        text = f"{number(a)} {x}: {format(b)}"
        descriptions.append(text)
        parts.append(
            f'<circle class="s0" cx="{units(left)}" cy="{units(top)}" r="4">'
            f"<title>{escape(text)}</title></circle>"
        )
    name = title or f"{y} against {x}"
    return drawing(
        parts, base + _BELOW, name, "; ".join(descriptions), width=WIDTH, css=PICTURE_CSS + _CSS
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round values, a round step apart, that hold a range between them.

    >>> _ticks(0, 0.8)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    if high <= low:
        low, high = low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    rough = (high - low) / _TICKS
    scale = 10.0 ** floor(log10(rough))
    step = next(scale * part for part in (1, 2, 5, 10) if scale * part >= rough * 0.999)
    first = floor(low / step + 1e-9)
    last = -floor(-high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]
