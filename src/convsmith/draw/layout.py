"""Where panels stand: inputs at the left, kernels beside them, outputs at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convsmith.draw.lettering import text_width
from convsmith.draw.storyboard import Panel, Symbol

__all__ = [
    "BELOW",
    "GAP",
    "LABEL",
    "LEGIBLE",
    "Stack",
    "apart",
    "arranged",
    "lined",
    "piled",
    "side_for",
]

LABEL, GAP, BELOW = 22.0, 38.0, 16.0

LEGIBLE = 14.0
"""Pixels of the smallest cell that holds a number."""

# Wider than this, a drawing's text is too small on a phone: the last columns share one.
_WIDEST = 500.0
# Room for the lines from an input of one axis to its output.
_ROPE = 42.0
# Pixels that the cells of a row share by default.
_ROOM = 430.0


@dataclass(frozen=True)
class Stack:
    """Rows of panels under one another; in a row several may stand side by side.

    `sign` stands between this column and the one before it.
    """

    rows: tuple[tuple[Panel | None, ...], ...]
    sign: str = ""
    gap: float = GAP

    @property
    def widths(self) -> list[float]:
        """The width of each place in a row, that of its label included."""
        return [max(map(_wide, places)) for places in zip(*self.rows, strict=True)]

    @property
    def heights(self) -> list[float]:
        """The height of each row, that of its labels included."""
        return [max(_high(panel) for panel in row) for row in self.rows]


def arranged(
    columns: Sequence[Stack], aligned: int = 0, *, folds: bool = True
) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """Place panels and signs.

    Args:
        columns: from left to right.
        aligned: so many of the first columns have rows that belong together; the others are
            centred on them.
        folds: whether three wide columns may become two, the third under the second.
    """
    columns = [column for column in columns if column.rows]
    total = sum(sum(c.widths) + _between(c) for c in columns) + sum(c.gap for c in columns[1:])
    single = all(len(column.rows) == 1 for column in columns)
    if folds and single and len(columns) == 3 and total > _WIDEST:
        return _two_columns(columns)
    heights = [max(each) for each in zip(*(c.heights for c in columns[:aligned]), strict=True)]
    high = max(
        [_sum(heights)] * bool(heights) + [_sum(column.heights) for column in columns[aligned:]]
    )
    panels: list[Panel] = []
    symbols: list[Symbol] = []
    x = 0.0
    for index, column in enumerate(columns):
        if index:
            if column.sign:
                symbols.append(Symbol(column.sign, x + column.gap / 2, (high + LABEL) / 2))
            x += column.gap
        rows = heights if index < aligned else column.heights
        y = (high - _sum(rows)) / 2
        for row, room in zip(column.rows, rows, strict=True):
            left = x
            for panel, wide in zip(row, column.widths, strict=True):
                if panel is not None:
                    top = y + LABEL + (room - LABEL - panel.height) / 2
                    panels.append(panel.moved(left + (wide - panel.width) / 2, top))
                left += wide + BELOW
            y += room + BELOW
        x += sum(column.widths) + _between(column)
    return tuple(panels), tuple(symbols)


def piled(
    blocks: Sequence[Sequence[Stack]], aligned: int
) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """Blocks of columns one under another; the rows of the middle one's belong together."""
    panels: list[Panel] = []
    symbols: list[Symbol] = []
    y = 0.0
    for block in blocks:
        filled = [replace(c, rows=tuple(row for row in c.rows if any(row))) for c in block]
        if len(block) > 1:
            filled = list(block)
        placed, signs = arranged(filled, min(aligned, len(filled)))
        panels += [panel.moved(panel.x, panel.y + y) for panel in placed]
        symbols += [replace(sign, y=sign.y + y) for sign in signs]
        y = max(panel.y + panel.height for panel in panels) + BELOW
    return tuple(panels), tuple(symbols)


def _two_columns(
    columns: Sequence[Stack],
) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """The second above the third, both beside the first."""
    (first,), (second,), (third,) = (column.rows[0] for column in columns)
    assert first is not None
    assert second is not None
    assert third is not None
    right = max(_wide(second), _wide(third))
    high = max(_high(first), _high(second) + _high(third) + BELOW)
    x = _wide(first) + GAP
    over = (high - _high(second) - _high(third) - BELOW) / 2
    y = over + _high(second) + BELOW
    placed = (
        first.moved((_wide(first) - first.width) / 2, LABEL + (high - _high(first)) / 2),
        second.moved(x + (right - second.width) / 2, over + LABEL),
        third.moved(x + (right - third.width) / 2, y + LABEL),
    )
    middle = _wide(first) + GAP / 2
    signs = tuple(
        Symbol(column.sign, middle, panel.y + panel.height / 2)
        for column, panel in zip(columns[1:], placed[1:], strict=True)
        if column.sign
    )
    return placed, signs


def _wide(panel: Panel | None) -> float:
    if panel is None:
        return 0.0
    return max(panel.width, 0.0 if panel.label is None else text_width(panel.label))


def _high(panel: Panel | None) -> float:
    return 0.0 if panel is None else panel.height + LABEL


def _sum(heights: Sequence[float]) -> float:
    return sum(heights) + BELOW * (len(heights) - 1)


def _between(column: Stack) -> float:
    return BELOW * (len(column.widths) - 1)


def lined(
    kernel: Panel, above: Panel, below: Panel, start: float
) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """Maps of one axis: the kernel over the input, the output under it, `start` pixels in."""
    left = max(0.0, (text_width(kernel.label or "") - kernel.width) / 2)
    top = LABEL + kernel.height + BELOW / 2 + LABEL
    return (
        kernel.moved(left, LABEL),
        above.moved(left, top),
        replace(below, x=left + start, y=top + above.height + _ROPE, label_below=True),
    ), ()


def side_for(cells: int, room: float = _ROOM) -> float:
    """Pixels of a cell where so many share a width.

    >>> side_for(4), side_for(16), side_for(64)
    (26.0, 26.0, 6.5)
    """
    return max(6.0, min(26.0, int(2 * room / cells) / 2))


def apart(
    placed: Sequence[Panel], symbols: Sequence[Symbol], ins: int, outs: int
) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """Give each group signs of its own, and its outputs beside it: groups are never added.

    Args:
        placed: the panels of a grouped convolution, inputs and outputs group by group.
        symbols: the signs between the columns, once each.
        ins: inputs of a group.
        outs: outputs of a group.
    """
    inputs, outputs = _groups(placed, "input", ins), _groups(placed, "output", outs)
    middles = [_middle(group) for group in inputs]
    signs = tuple(replace(symbol, y=y) for symbol in symbols for y in middles)
    if any(_span(out) > _span(group) for out, group in zip(outputs, inputs, strict=True)):
        return tuple(placed), signs
    shifts = {
        panel.name: y - _middle(group)
        for group, y in zip(outputs, middles, strict=True)
        for panel in group
    }
    return tuple(replace(p, y=p.y + shifts.get(p.name, 0.0)) for p in placed), signs


def _groups(placed: Sequence[Panel], kind: str, each: int) -> list[list[Panel]]:
    """The panels of a kind, group by group."""
    panels = [panel for panel in placed if panel.name.startswith(kind)]
    return [panels[first : first + each] for first in range(0, len(panels), each)]


def _middle(group: Sequence[Panel]) -> float:
    return (group[0].y + group[-1].y + group[-1].height) / 2


def _span(group: Sequence[Panel]) -> float:
    return group[-1].y + group[-1].height - group[0].y
