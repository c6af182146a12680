"""What convolutions in series reach along one axis, row by row, and the holes they leave."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.arithmetic import Positions
from convsmith.errors import ArgumentError
from convsmith.report.drawing import WIDTH, drawing, hatch, path, units
from convsmith.report.formats import count
from convsmith.report.plane import runs
from convsmith.report.style import PICTURE_CSS
from convsmith.report.text import escape

__all__ = ["gridding_picture"]

# In pixels: where the cells begin, a row of them, the way to the next row, the heading.
_LEFT, _ROW, _WAY, _HEADING = 78, 16, 30, 30
_LARGEST, _SMALLEST = 20, 7
# More ways than these are a grey cloud.
_WAYS = 400


def gridding_picture(
    rates: Sequence[int],
    kernel: int = 3,
    repair: Sequence[int] | None = None,
    *,
    title: str = "Dilated convolutions in series",
) -> str:
    """Draw which positions each layer reaches, from one output value down to the input.

    Args:
        rates: the dilations, first layer first.
        kernel: the taps of each layer.
        repair: rates that leave no hole, drawn below.
        title: what is drawn; not shown, read out and shown on hovering.

    Raises:
        ArgumentError: no rates, or one below 1.

    >>> svg = gridding_picture([2, 2, 2], repair=[1, 2, 3])
    >>> svg.count('class="hole"'), "Rates 2, 2, 2: 7 of 13 positions" in svg
    (18, True)
    """
    if not rates or min(rates) < 1 or kernel < 1:
        raise ArgumentError(f"rates and taps are at least 1, not {list(rates)} of {kernel} taps")
    parts, descriptions = [], []
    y = 0.0
    for heading, each in (("Rates", rates), ("Repaired: rates", repair)):
        if not each:
            continue
        steps = _reached(each, kernel)
        seen = steps[-1]
        text = (
            f"{heading} {', '.join(map(str, each))}: {count(len(seen))} of {count(seen.span)} "
            "positions"
        )
        descriptions.append(text)
        parts.append(f'<text class="heading" x="0" y="{units(y + 15)}">{escape(text)}</text>')
        panel, height = _panel(steps, each, kernel, y + _HEADING)
        parts += panel
        y += _HEADING + height + 18
    return drawing(parts, y - 8, title, "; ".join(descriptions), width=WIDTH, css=PICTURE_CSS)


def _reached(rates: Sequence[int], kernel: int) -> list[Positions]:
    """The positions reached at the output and after each layer, last layer first."""
    steps = [Positions.of([0])]
    for rate in reversed(rates):
        steps.append(steps[-1].spread(kernel, rate))
    return steps


def _panel(
    steps: Sequence[Positions], rates: Sequence[int], kernel: int, top: float
) -> tuple[list[str], float]:
    span = steps[-1].span
    cell = min(_LARGEST, (WIDTH - _LEFT) / span)
    cell = int(cell) if cell >= 1 else cell
    # All rows have one middle; the positions of a row count from its own first.
    starts = [_LEFT + (span - seen.span) * cell / 2 for seen in steps]
    tops = [top + index * (_ROW + _WAY) for index in range(len(steps))]
    parts = _taps(steps, rates, kernel, starts, tops, cell)
    for index, seen in enumerate(steps):
        x, y = starts[index], tops[index]
        name = "output" if not index else f"{len(seen)} of {seen.span}"
        parts.append(f'<text class="small value" x="0" y="{units(y + 13)}">{name}</text>')
        if index:
            rate = f"rate {rates[-index]}"
            parts.append(f'<text class="small" x="0" y="{units(y - _WAY / 2 + 4)}">{rate}</text>')
        holes = Positions.range(seen.start, seen.stop) - seen
        if cell >= _SMALLEST:
            for position in range(seen.start, seen.stop):
                left = x + (position - seen.start) * cell
                rect = (left + 0.5, y, cell - 1, _ROW)
                box = (
                    f'x="{units(rect[0])}" y="{units(y)}" width="{units(rect[2])}" height="{_ROW}"'
                )
                if position in seen:
                    parts.append(f'<rect class="s0" {box}/>')
                else:
                    parts.append(f'<rect class="hole" {box}/>')
                    parts.append(f'<path class="hatch" d="{hatch(rect, 5)}"/>')
        else:
            for kind, positions, high in (("s0", seen, _ROW), ("s1", holes, _ROW // 3)):
                rects = [
                    (x + (a - seen.start) * cell, y + (_ROW - high) / 2, (b - a) * cell, high)
                    for a, b in runs(positions)
                ]
                if rects:
                    parts.append(f'<path class="{kind}" d="{path(rects)}"/>')
    return parts, tops[-1] + _ROW - top


def _taps(
    steps: Sequence[Positions],
    rates: Sequence[int],
    kernel: int,
    starts: Sequence[float],
    tops: Sequence[float],
    cell: float,
) -> list[str]:
    """A line from every position to each that it is computed from."""
    if kernel * sum(map(len, steps[:-1])) > _WAYS:
        return []
    lines = []
    for index, rate in enumerate(reversed(rates)):
        for position in steps[index]:
            x = starts[index] + (position + 0.5) * cell
            for tap in range(kernel):
                end = starts[index + 1] + (position + tap * rate + 0.5) * cell
                lines.append(
                    f"M{units(x)} {units(tops[index] + _ROW)}L{units(end)} {units(tops[index + 1])}"
                )
    return [f'<path class="tap" d="{"".join(lines)}"/>']
