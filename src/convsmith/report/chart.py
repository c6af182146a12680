"""Bar charts as SVG text: every value written beside its bar, the same bytes for the same input.

Widths are in per cent and text in pixels, so a chart fills whatever holds it and stays legible on
a telephone. The colours are those of Okabe & Ito, Color Universal Design (2008), that stand out
from their ground by 3:1; no bar is told by its colour alone.

>>> svg = bars([("original", 25.6), ("lightened", 4.1)], "M parameters", title="Parameters")
>>> svg.count("<rect"), "25.6 M parameters" in svg
(4, True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from convsmith.errors import ArgumentError
from convsmith.report.drawing import drawing, fitted
from convsmith.report.formats import MISSING, Number, is_missing, number
from convsmith.report.style import SERIES
from convsmith.report.text import escape

__all__ = ["bars", "groups"]

T = TypeVar("T")
Items = Mapping[str, Number | None] | Iterable[tuple[str, Number | None]]
Groups = Mapping[str, Sequence[Number | None]] | Iterable[tuple[str, Sequence[Number | None]]]

# In pixels. A label and its value share one line of 360 px, at some 7 px a character.
_LINE, _BAR, _AFTER, _HEADING = 20, 8, 12, 26
_CHARACTERS = 34


def bars(
    items: Items,
    unit: str = "",
    *,
    title: str = "",
    format: Callable[[Number], str] = number,
    maximum: Number | None = None,
) -> str:
    """Horizontal bars, one below the other in the order given.

    Args:
        items: pairs of a label and a value (None: not established).
        unit: written after each value.
        title: what the chart shows; not drawn, read out and shown on hovering.
        format: turns a value into its text.
        maximum: the value of a full bar; the largest value where it is not given.

    Raises:
        ArgumentError: nothing to draw, or a value that is negative, infinite or above `maximum`.
    """
    pairs = [(label, [value]) for label, value in _pairs(items)]
    return _chart(pairs, None, unit, title, format, maximum)


def groups(
    items: Groups,
    series: Sequence[str],
    unit: str = "",
    *,
    title: str = "",
    format: Callable[[Number], str] = number,
    maximum: Number | None = None,
) -> str:
    """Groups of horizontal bars on one scale, such as before, after and control for each network.

    Args:
        items: the heading of a group and its values, one a series, each.
        series: the names of the values, the same in every group; each has its colour.
        unit: written after each value.
        title: what the chart shows; not drawn, read out and shown on hovering.
        format: turns a value into its text.
        maximum: the value of a full bar; the largest value where it is not given.

    Raises:
        ArgumentError: a group without one value a series, and as for `bars`.
    """
    return _chart(_pairs(items), list(series), unit, title, format, maximum)


def _chart(
    items: Sequence[tuple[str, Sequence[Number | None]]],
    series: list[str] | None,
    unit: str,
    title: str,
    format: Callable[[Number], str],
    maximum: Number | None,
) -> str:
    full = _full_bar(items, series, maximum)
    parts: list[str] = []
    descriptions: list[str] = []
    y = 0
    for heading, values in items:
        if series is not None:
            gap = _AFTER if y else 0
            parts.append(f'<text class="heading" x="0" y="{y + gap + 14}">{_label(heading)}</text>')
            y += gap + _HEADING
        for index, value in enumerate(values):
            label = heading if series is None else series[index]
            text = MISSING if value is None else f"{format(value)} {unit}".rstrip()
            parts += _bar(y, label, text, 0.0 if value is None else float(value / full), index)
            descriptions.append(f"{label if series is None else f'{heading}, {label}'}: {text}")
            y += _LINE + _BAR + _AFTER
    name = title or (f"Bar chart, {unit}" if unit else "Bar chart")
    return drawing(parts, y - _AFTER, name, "; ".join(descriptions))


def _bar(y: int, label: str, text: str, share: float, index: int) -> list[str]:
    bar = f'y="{y + _LINE}" height="{_BAR}" rx="2"'
    return [
        f'<text x="0" y="{y + 14}">{_label(label)}</text>',
        f'<text class="value" x="100%" y="{y + 14}" text-anchor="end">{escape(text)}</text>',
        f'<rect class="track" x="0" width="100%" {bar}/>',
        f'<rect class="s{index % SERIES}" x="0" width="{100 * share:.2f}%" {bar}/>',
    ]


def _label(text: str) -> str:
    return fitted(text, _CHARACTERS)


def _pairs(items: Mapping[str, T] | Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    return list(items.items() if isinstance(items, Mapping) else items)


def _full_bar(
    items: Sequence[tuple[str, Sequence[Number | None]]],
    series: list[str] | None,
    maximum: Number | None,
) -> Number:
    """The value of a full bar, once every value is known to be drawable."""
    known: list[Number] = []
    for label, values in items:
        if series is not None and len(values) != len(series):
            raise ArgumentError(
                f"{label!r} must have {len(series)} values, one per series: {list(values)}"
            )
        for value in values:
            if value is None:
                continue
            if is_missing(value) or not 0 <= value < float("inf"):
                raise ArgumentError(
                    f"a bar needs a finite value of at least 0: {label!r} is {value}"
                )
            if maximum is not None and value > maximum:
                raise ArgumentError(f"{label!r} is {value}, above the maximum of {maximum}")
            known.append(value)
    if not items or series == []:
        raise ArgumentError("a chart needs at least one bar")
    if maximum is not None and not maximum > 0:
        raise ArgumentError(f"maximum must be above 0, not {maximum}")
    return maximum or max(known, default=1) or 1
