"""What a network costs: multiply-adds per layer as bars, memory over the layers as a curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from convsmith.errors import ArgumentError
from convsmith.report.drawing import drawing, fitted, units
from convsmith.report.formats import bytes_, percent, short
from convsmith.report.style import PICTURE_CSS
from convsmith.report.text import escape

__all__ = ["cost_picture", "memory_picture"]

# In pixels, as in `bars`.
_LINE, _BAR, _AFTER, _LEGEND = 20, 8, 12, 30
_CHARACTERS = 26
_CURVE = 180
# Points that a curve has at most; of more layers each point is the most of several.
_POINTS = 1000


def cost_picture(
    items: Iterable[tuple[str, int, int]],
    *,
    top: int = 12,
    title: str = "Multiply-adds",
) -> str:
    """Draw multiply-adds as bars, those on real pixels and then those on padding, in their order.

    Args:
        items: a name, its multiply-adds, and how many of them fall on padding, each.
        top: so many bars, of the largest; what else there is goes into one more, the last.
        title: what is drawn; not shown, read out and shown on hovering.

    Raises:
        ArgumentError: no items, or more multiply-adds on padding than there are.

    >>> svg = cost_picture([("conv1", 900, 100), ("conv2", 50, 0), ("fc", 50, 0)], top=1)
    >>> "conv1" in svg, "2 others" in svg, "90.0 %" in svg
    (True, True, True)
    """
    rows = list(items)
    for name, macs, padding in rows:
        if not 0 <= padding <= macs:
            raise ArgumentError(f"{name!r} has {macs} multiply-adds, {padding} of them on padding")
    if not rows or top < 1:
        raise ArgumentError("a picture of costs needs at least one bar")
    total = sum(macs for _, macs, _ in rows)
    if len(rows) > top + 1:
        largest = set(sorted(range(len(rows)), key=lambda index: -rows[index][1])[:top])
        rest = [row for index, row in enumerate(rows) if index not in largest]
        rows = [row for index, row in enumerate(rows) if index in largest]
        rows.append((f"{len(rest)} others", sum(x[1] for x in rest), sum(x[2] for x in rest)))
    full = max(macs for _, macs, _ in rows) or 1
    padded = any(padding for _, _, padding in rows)
    parts: list[str] = []
    descriptions: list[str] = []
    y = 0
    if padded:
        parts += [
            '<rect class="s0" x="0" y="4" width="12" height="12" rx="2"/>',
            '<text class="small" x="18" y="14">on real pixels</text>',
            '<rect class="s1" x="128" y="4" width="12" height="12" rx="2"/>',
            '<text class="small" x="146" y="14">on padding</text>',
        ]
        y = _LEGEND
    for name, macs, padding in rows:
        text = f"{short(macs)}, {percent(macs / total if total else 0)}"
        real = 100 * (macs - padding) / full
        bar = f'y="{y + _LINE}" height="{_BAR}"'
        parts += [
            f'<text x="0" y="{y + 14}">{fitted(name, _CHARACTERS)}</text>',
            f'<text class="value" x="100%" y="{y + 14}" text-anchor="end">{escape(text)}</text>',
            f'<rect class="track" x="0" width="100%" {bar}/>',
            f'<rect class="s0" x="0" width="{real:.2f}%" {bar}/>',
        ]
        if padding:
            width = 100 * padding / full
            parts.append(f'<rect class="s1" x="{real:.2f}%" width="{width:.2f}%" {bar}/>')
        descriptions.append(
            f"{name}: {text}" + (f", {short(padding)} on padding" if padding else "")
        )
        y += _LINE + _BAR + _AFTER
    return drawing(parts, y - _AFTER, title, "; ".join(descriptions), css=PICTURE_CSS)


def memory_picture(
    during: Iterable[tuple[str, int]],
    *,
    title: str = "Memory while each layer runs",
) -> str:
    """Draw the bytes alive while each layer runs, in order, the peak named.

    Args:
        during: a layer's name and its bytes, each.
        title: what is drawn; not shown, read out and shown on hovering.

    Raises:
        ArgumentError: no layers, or a negative number of bytes.

    >>> svg = memory_picture([("conv1", 2048), ("relu", 4096), ("fc", 10)])
    >>> "peak 4.00 KiB in relu" in svg
    True
    """
    steps = list(during)
    if not steps or min(size for _, size in steps) < 0:
        raise ArgumentError("a curve of memory needs layers, and at least 0 bytes in each")
    peak = max(range(len(steps)), key=lambda index: steps[index][1])
    name, most = steps[peak]
    text = fitted(f"peak {bytes_(most)} in {name}", 40)
    values = _thinned([size for _, size in steps])
    wide = len(values)
    full = most or 1
    heights = [units(100 - 100 * value / full) for value in values]
    line = f"M0 {heights[0]}H1" + "".join(
        f"V{b}H{x}" for x, (_, b) in enumerate(pairwise(heights), 2)
    )
    # The last of equal peaks would lie elsewhere: the marker stands on the first, as the name says.
    at = 100 * (values.index(most) + 0.5) / wide
    anchor = "start" if at < 33 else "end" if at > 67 else "middle"
    top = 24
    parts = [
        f'<text class="heading" x="{at:.2f}%" y="14" text-anchor="{anchor}">{text}</text>',
        f'<svg x="0" y="{top}" width="100%" height="{_CURVE}" viewBox="0 0 {wide} 100" '
        'preserveAspectRatio="none" overflow="visible">',
        f'<path class="s0 area" d="{line}V100H0z"/>',
        f'<path class="line" d="{line}"/>',
        "</svg>",
        f'<line class="frame" x1="{at:.2f}%" x2="{at:.2f}%" y1="{top}" y2="{top + _CURVE}"/>',
        f'<line class="box" x1="0" x2="100%" y1="{top + _CURVE}" y2="{top + _CURVE}"/>',
        f'<text class="small" x="0" y="{top + _CURVE + 18}">{fitted(steps[0][0], 20)}</text>',
    ]
    if len(steps) > 1:
        parts.append(
            f'<text class="small" x="100%" y="{top + _CURVE + 18}" text-anchor="end">'
            f"{fitted(steps[-1][0], 20)}</text>"
        )
    description = f"peak {bytes_(most)} in {name}, {len(steps)} layers from {steps[0][0]} on"
    return drawing(parts, top + _CURVE + 26, title, description, css=PICTURE_CSS)


def _thinned(values: Sequence[int]) -> list[int]:
    """At most `_POINTS` values, each the most of its neighbours."""
    side = -(-len(values) // _POINTS)
    return [max(values[i : i + side]) for i in range(0, len(values), side)]
