"""A scene laid out as shapes: what every renderer draws, so that all of them agree.

The same shapes stand at the same places in every language: room is kept for the longest.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from convsmith.arithmetic.normalise import choice
from convsmith.draw.lettering import (
    BELOW,
    MARGIN,
    captions,
    head,
    labels,
    legend,
    shown,
    text_width,
    title_width,
)
from convsmith.draw.palette import THEMES
from convsmith.draw.shapes import Overlay, Picture, Shape, hatched, runs
from convsmith.draw.storyboard import At, Mark, Panel, Storyboard
from convsmith.draw.words import phrase
from convsmith.errors import ArgumentError

__all__ = ["picture"]

# The least width, and the one from which words are made larger.
_WIDTH, _USUAL = 330.0, 520.0
_SIGN = 20.0
# Characters that a cell has room for.
_ROOM = 5
# Of a cell's width, numbers take so much.
_FILLED = 0.86
# Widths over the height of a number, in the widest of the usual faces: of a digit, and of others.
_DIGIT, _OTHERS = 0.64, {"−": 0.84, ".": 0.32, "∞": 0.84}
_OUTLINES = ("active", "kept", "tile", "halo", "field")


def picture(scene: Storyboard, language: str, theme: str = "auto") -> Picture:
    """Lay a scene out.

    Raises:
        ArgumentError: an unknown language or theme, or a scene without steps.
    """
    choice("theme", theme, THEMES)
    if not scene.steps:
        raise ArgumentError(f"{scene!r} has no steps to draw")
    overhangs = {p.name: max(0.0, (text_width(p.label or "") - p.width) / 2) for p in scene.panels}
    start = min((p.x - overhangs[p.name] for p in scene.panels), default=0.0)
    ends = [p.x + p.width + overhangs[p.name] for p in scene.panels]
    right = max([*ends, *(p.x + p.width for p in scene.photos)], default=0.0) - start
    body = max((p.y + p.height + p.label_below * BELOW for p in scene.panels), default=0.0)
    width = max(right, _WIDTH, title_width(scene.title))
    # A wide drawing is shown smaller, so its words are larger.
    zoom = max(1.0, min(1.4, width / _USUAL))
    heading, top = head(scene, language, width, zoom)
    # A drawing narrower than its words stands in the middle of them.
    left = MARGIN + (width - right) / 2 - start
    panels = {panel.name: panel.moved(panel.x + left, panel.y + top) for panel in scene.panels}
    layers = [Overlay((*heading, *_photos(scene, left, top), *_cells(panels.values())))]
    layers += _marks(scene, panels)
    layers += _links(scene, panels)
    sizes = _sizes(scene, panels)
    layers.append(Overlay(tuple(_still_values(scene, panels, sizes))))
    layers += _written(scene, panels, sizes)
    signs = [
        Shape("text", "quiet", (s.x + left, s.y + top + _SIGN * 0.36), s.sign, _SIGN)
        for s in scene.symbols
    ]
    layers.append(Overlay((*signs, *labels(panels.values(), language))))
    y = top + body + 22
    lines, y = captions(scene, language, width, y, zoom)
    keys, y = legend(scene, language, width, y, zoom)
    layers += [*lines, Overlay(tuple(keys))]
    steps = len(scene.steps)
    return Picture(
        width + 2 * MARGIN,
        y + MARGIN - 4,
        phrase(scene.title, language),
        phrase(scene.description, language),
        tuple(layer for layer in layers if layer.shapes),
        steps,
        language,
        theme,
        tuple(phrase(step.caption, language) for step in scene.steps),
        # Few steps can be followed one by one; of many the movement tells.
        round(max(0.4, min(1.2, 30 / steps)), 2),
    )


def _photos(scene: Storyboard, left: float, top: float) -> Iterable[Shape]:
    for photo in scene.photos:
        place = (photo.x + left, photo.y + top, photo.width, photo.height)
        yield Shape("image", "paper", place, b64encode(photo.data).decode())


def _cells(panels: Iterable[Panel]) -> Iterable[Shape]:
    for panel in panels:
        for cell in panel.cells:
            box = _box(panel, cell.at, cell.span)
            style = panel.role if panel.tone is None else f"tone{panel.tone % 4}"
            if cell.role and cell.role != "unread":
                style = cell.role.split()[0]
            yield Shape("rect", style, box)
            if "unread" in cell.role or cell.role == "cropped":
                yield Shape("lines", "hatch", hatched(box))


def _marks(scene: Storyboard, panels: dict[str, Panel]) -> list[Overlay]:
    """One layer for a mark that keeps its form and moves, else one for each of its forms."""
    marks: dict[tuple[str, str], dict[int, tuple[tuple[int, int], ...]]] = {}
    for index, step in enumerate(scene.steps):
        for mark in step.marks:
            at = marks.setdefault((mark.panel, mark.role), {})
            at[index] = tuple(sorted({*at.get(index, ()), *mark.cells}))
    layers = []
    count = len(scene.steps)
    order = {
        **{f"shade{n}": -1 for n in range(1, 7)},
        "window": 0,
        "stamped": 0,
        "current": 1,
        "active": 2,
        "kept": 2,
        "source": 3,
    }
    for (name, role), forms in sorted(marks.items(), key=lambda item: order.get(item[0][1], 9)):
        panel = panels[name]
        corners = {i: (min(r for r, _ in f), min(c for _, c in f)) for i, f in forms.items() if f}
        bases = {
            tuple((r - corners[i][0], c - corners[i][1]) for r, c in forms[i]) for i in corners
        }
        if not bases:
            continue
        if len(bases) == 1 and len(set(corners.values())) > 1:
            shapes = _mark_shapes(panel.moved(0, 0), Mark(name, role, next(iter(bases))))
            offsets = tuple(
                (panel.x + corners[i][1] * panel.side, panel.y + corners[i][0] * panel.side)
                if i in corners
                else None
                for i in range(count)
            )
            layers.append(Overlay(shapes, None, offsets))
            continue
        for cells_, steps in runs([forms.get(i) for i in range(count)]):
            if cells_:
                layers.append(Overlay(_mark_shapes(panel, Mark(name, role, cells_)), steps))
    return layers


def _mark_shapes(panel: Panel, mark: Mark) -> tuple[Shape, ...]:
    if mark.role in _OUTLINES:
        rows, columns = zip(*mark.cells, strict=True)
        x, y = panel.x + min(columns) * panel.side, panel.y + min(rows) * panel.side
        wide = (max(columns) - min(columns) + 1) * panel.side
        high = (max(rows) - min(rows) + 1) * panel.side
        return (Shape("rect", mark.role, (x - 1, y - 1, wide + 2, high + 2)),)
    if mark.role.startswith("veil"):
        return tuple(_veils(panel, mark))
    return tuple(Shape("rect", mark.role, _box(panel, at)) for at in mark.cells)


def _veils(panel: Panel, mark: Mark) -> Iterable[Shape]:
    """Cells without seams: those of a row that touch are one."""
    rows: dict[int, list[int]] = {}
    for row, column in sorted(mark.cells):
        rows.setdefault(row, []).append(column)
    side = panel.side
    for row, columns in rows.items():
        start = columns[0]
        for column, after in zip(columns, [*columns[1:], None], strict=True):
            if after != column + 1:
                wide = (column + 1 - start) * side
                place = (panel.x + start * side, panel.y + row * side, wide, side)
                yield Shape("block", mark.role, place)
                start = after or 0


def _links(scene: Storyboard, panels: dict[str, Panel]) -> list[Overlay]:
    layers = []
    for index, step in enumerate(scene.steps):
        places: list[float] = []
        for link in step.links:
            a, b = (_box(panels[name], at) for name, at in (link.start, link.end))
            down = b[1] >= a[1] + a[3]
            start = (a[0] + a[2] / 2, a[1] + a[3]) if down else (a[0] + a[2], a[1] + a[3] / 2)
            end = (b[0] + b[2] / 2, b[1]) if down else (b[0], b[1] + b[3] / 2)
            places += [*start, *end]
        if places:
            steps = range(index, index + 1)
            layers.append(Overlay((Shape("lines", "link", tuple(places)),), steps))
    return layers


def _still_values(
    scene: Storyboard, panels: dict[str, Panel], sizes: dict[str, float]
) -> Iterable[Shape]:
    changing = {(write.panel, write.at) for step in scene.steps for write in step.writes}
    for panel in panels.values():
        for cell in panel.cells:
            if cell.value is not None and (panel.name, cell.at) not in changing:
                style = "quiet" if cell.role else "text"
                yield _value(panel, cell.at, cell.value, style, sizes[panel.name])


def _written(scene: Storyboard, panels: dict[str, Panel], sizes: dict[str, float]) -> list[Overlay]:
    count = len(scene.steps)
    starts = {(panel.name, cell.at): cell for panel in panels.values() for cell in panel.cells}
    seen: dict[tuple[str, At], list[Any]] = {}
    for index, step in enumerate(scene.steps):
        for write in step.writes:
            key = (write.panel, write.at)
            values = seen.setdefault(key, [starts[key].value if key in starts else None] * count)
            values[index:] = [write.value] * (count - index)
    # Those that come and go at the same time share a layer.
    together: dict[range, list[Shape]] = {}
    for (name, at), values in seen.items():
        style = "quiet" if (name, at) in starts and starts[name, at].role else "text"
        for value, steps in runs(values):
            if value is not None:
                shape = _value(panels[name], at, value, style, sizes[name])
                together.setdefault(steps, []).append(shape)
    ordered = sorted(together.items(), key=lambda item: (item[0].start, item[0].stop))
    return [Overlay(tuple(shapes), steps) for steps, shapes in ordered]


def _sizes(scene: Storyboard, panels: dict[str, Panel]) -> dict[str, float]:
    """The size of the numbers of each panel: that at which its longest still fits."""
    longest = dict.fromkeys(panels, _DIGIT)
    values = [(panel.name, cell.value) for panel in panels.values() for cell in panel.cells]
    values += [(write.panel, write.value) for step in scene.steps for write in step.writes]
    for name, value in values:
        wide = sum(_OTHERS.get(letter, _DIGIT) for letter in shown(value, _ROOM))
        longest[name] = max(longest[name], wide)
    return {
        name: round(min(0.5 * panel.side, _FILLED * (panel.side - 2) / longest[name]), 1)
        for name, panel in panels.items()
    }


def _value(panel: Panel, at: At, value: Any, style: str, size: float) -> Shape:
    x, y, wide, high = _box(panel, at)
    place = (x + wide / 2, y + high / 2 + 0.36 * size)
    return Shape("text", style, place, shown(value, _ROOM), size)


def _box(panel: Panel, at: At, span: At = (1, 1)) -> tuple[float, float, float, float]:
    inset = 1.0 if panel.side >= 12 else 0.5
    high, wide = (panel.side * cells - 2 * inset for cells in span)
    return (panel.x + at[1] * panel.side + inset, panel.y + at[0] * panel.side + inset, wide, high)
