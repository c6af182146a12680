# ruff: noqa: RUF001 (Chinese stops are meant)
"""A scene laid out as shapes: what every renderer draws, so that all of them agree.

The same shapes stand at the same places in every language: room is kept for the longest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from numbers import Integral, Real
from typing import Any

from convsmith.draw.palette import THEMES
from convsmith.draw.scene import At, Mark, Panel, Scene
from convsmith.draw.text import cells
from convsmith.draw.words import LANGUAGES, Text, say, text
from convsmith.errors import ArgumentError

__all__ = ["Layer", "Picture", "Shape", "moved", "picture", "shown", "text_width"]

_MARGIN, _WIDTH, _USUAL = 16.0, 330.0, 520.0
_TITLE, _NOTE, _CAPTION, _LEGEND, _LABEL, _SIGN = 17.0, 13.0, 14.0, 12.5, 12.5, 20.0
_LINE = 1.4
# Whole numbers up to here are shown in full, though they come as floats.
_WHOLE = 1e6
# Numbers from here on are rounded to whole ones.
_ROUND = 1000
# Characters that a cell has room for.
_ROOM = 5
# The mean width of a letter over its height, in the wider of the usual sans-serif faces.
_EM = 0.58
_SWATCH = 14.0
# What a line may end after: a Chinese character with the stop that follows it, a word, spaces.
_PARTS = re.compile(r"[\u2e80-\u9fff\uff00-\uffef][，。；：、]*|[^ \u2e80-\u9fff\uff00-\uffef]+| +")
_OUTLINES = ("active", "kept")
_LEGENDS = ("window", "current", "stamped", "kept", "source", "padding", "gap", "cropped", "extra",
            "unread")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A `rect` (left, top, width, height), `lines` (x, y, x, y, …), or a `text` (x, baseline)."""

    kind: str
    style: str
    place: tuple[float, ...]
    text: str = ""
    size: float = 0.0
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Layer:
    """Shapes that come, go and move together.

    `steps` says in which steps they are seen, None in all; `offsets` where they are in each step,
    None where they are not seen.
    """

    shapes: tuple[Shape, ...]
    steps: range | None = None
    offsets: tuple[tuple[float, float] | None, ...] | None = None

    def at(self, step: int) -> tuple[float, float] | None:
        """How far the shapes are moved in a step; None where they are not seen."""
        if self.offsets is not None:
            return self.offsets[step]
        return (0.0, 0.0) if self.steps is None or step in self.steps else None


@dataclass(frozen=True)
class Picture:
    """A scene in one language and theme, as layers from the lowest to the highest."""

    width: float
    height: float
    title: str
    description: str
    layers: tuple[Layer, ...]
    steps: int
    language: str
    theme: str
    captions: tuple[str, ...] = ()
    seconds: float = field(default=1.0)

    def frame(self, step: int) -> list[Shape]:
        """The shapes of one step, at their places."""
        seen = []
        for layer in self.layers:
            offset = layer.at(step)
            if offset is not None:
                seen += [moved(shape, *offset) for shape in layer.shapes]
        return seen


def picture(scene: Scene, language: str, theme: str = "auto") -> Picture:
    """Lay a scene out.

    Raises:
        ArgumentError: a language or theme that there is not, or a scene without steps.
    """
    if theme not in THEMES:
        raise ArgumentError(f"theme must be one of {', '.join(map(repr, THEMES))}, not {theme!r}")
    if not scene.steps:
        raise ArgumentError(f"{scene!r} has no steps to draw")
    right = max((panel.x + panel.width for panel in scene.panels), default=0.0)
    body = max((p.y + p.height + p.label_below * (_LABEL + 3) for p in scene.panels), default=0.0)
    width = max(right, _WIDTH, _widest(scene.title, _TITLE))
    # A wide drawing is shown smaller, so its words are larger.
    zoom = max(1.0, min(1.4, width / _USUAL))
    head, top = _head(scene, language, width, zoom)
    # A drawing narrower than its words stands in the middle of them.
    left = _MARGIN + (width - right) / 2
    panels = {panel.name: panel.moved(panel.x + left, panel.y + top) for panel in scene.panels}
    layers = [Layer((*head, *_cells(panels.values())))]
    layers += _marks(scene, panels)
    layers += _links(scene, panels)
    sizes = _sizes(scene, panels)
    layers.append(Layer(tuple(_still_values(scene, panels, sizes))))
    layers += _written(scene, panels, sizes)
    signs = [
        Shape("text", "quiet", (s.x + left, s.y + top + _SIGN * 0.36), s.sign, _SIGN)
        for s in scene.symbols
    ]
    layers.append(Layer((*signs, *_labels(panels.values(), language))))
    y = top + body + 22
    captions, y = _captions(scene, language, width, y, zoom)
    legend, y = _legend(scene, language, width, y, zoom)
    layers += [*captions, Layer(tuple(legend))]
    steps = len(scene.steps)
    return Picture(
        width + 2 * _MARGIN,
        y + _MARGIN - 4,
        say(scene.title, language),
        say(scene.description, language),
        tuple(layer for layer in layers if layer.shapes),
        steps,
        language,
        theme,
        tuple(say(step.caption, language) for step in scene.steps),
        # Few steps can be followed one by one; of many the movement tells.
        round(max(0.4, min(1.2, 30 / steps)), 2),
    )


def shown(value: Any, room: int = 8) -> str:
    """A number as there is room for: whole ones in full, others to three digits or fewer.

    >>> shown(-12), shown(0.12345), shown(float("-inf")), shown(2.0)
    ('−12', '0.123', '−∞', '2')
    >>> shown(-0.01834), shown(-0.01834, room=5)
    ('−0.0183', '−0.02')
    """
    if value is None:
        return ""
    if isinstance(value, Integral):
        digits = str(int(value))
    elif not isinstance(value, Real):
        digits = str(value)
    elif not isfinite(number := float(value)):
        digits = "-∞" if number < 0 else "∞" if number > 0 else "nan"
    elif number == int(number) and abs(number) < _WHOLE:
        digits = str(int(number))
    else:
        digits = str(round(number))
        if abs(number) < _ROUND:
            each = (f"{number:.{digits_}g}" for digits_ in (3, 2, 1))
            digits = next((one for one in each if len(one) <= room), f"{number:.0e}")
    return digits.replace("-", "−")


def text_width(words: Text | str, size: float = _LABEL) -> float:
    """The pixels that a text may take, in the language where it takes most."""
    return _widest(words, size)


def _widest(words: Text | str, size: float) -> float:
    return max(cells(say(words, language)) for language in LANGUAGES) * size * _EM


def _wrapped(words: str, width: float, size: float) -> list[str]:
    """Break a text into lines: Latin at its spaces, Chinese between any two characters."""
    room = int(width / (size * _EM))
    lines, line = [], ""
    for part in _PARTS.findall(words):
        if cells(line + part.rstrip()) > room and line.strip():
            lines.append(line.strip())
            line = ""
        line += part
    return [*lines, line.strip()] if line.strip() or not lines else lines


def _most_lines(words: Iterable[Text], width: float, size: float) -> int:
    return max(
        (len(_wrapped(say(one, language), width, size)) for one in words for language in LANGUAGES),
        default=0,
    )


def _head(scene: Scene, language: str, width: float, zoom: float) -> tuple[list[Shape], float]:
    title, size = _TITLE * zoom, _NOTE * zoom
    y = _MARGIN + title * 0.8
    head = [Shape("text", "heading", (_MARGIN, y), say(scene.title, language), title, "start")]
    y += 6 * zoom
    for note in scene.notes:
        for index, line in enumerate(_wrapped(say(note, language), width, size)):
            place = (_MARGIN, y + (index + 1) * size * _LINE - 2)
            head.append(Shape("text", "quiet", place, line, size, "start"))
        y += _most_lines([note], width, size) * size * _LINE
    return head, y + 14


def _cells(panels: Iterable[Panel]) -> Iterable[Shape]:
    for panel in panels:
        for cell in panel.cells:
            box = _box(panel, cell.at)
            style = panel.role if panel.tone is None else f"tone{panel.tone % 4}"
            if cell.role and cell.role != "unread":
                style = cell.role.split()[0]
            yield Shape("rect", style, box)
            if "unread" in cell.role or cell.role == "cropped":
                yield Shape("lines", "hatch", _hatch(box))


def _marks(scene: Scene, panels: dict[str, Panel]) -> list[Layer]:
    """One layer for a mark that keeps its form and moves, else one for each of its forms."""
    found: dict[tuple[str, str], dict[int, tuple[tuple[int, int], ...]]] = {}
    for index, step in enumerate(scene.steps):
        for mark in step.marks:
            at = found.setdefault((mark.panel, mark.role), {})
            at[index] = tuple(sorted({*at.get(index, ()), *mark.cells}))
    layers = []
    count = len(scene.steps)
    order = {"window": 0, "stamped": 0, "current": 1, "active": 2, "kept": 2, "source": 3}
    for (name, role), forms in sorted(found.items(), key=lambda item: order.get(item[0][1], 9)):
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
            layers.append(Layer(shapes, None, offsets))
            continue
        for cells_, steps in _runs([forms.get(i) for i in range(count)]):
            if cells_:
                layers.append(Layer(_mark_shapes(panel, Mark(name, role, cells_)), steps))
    return layers


def _mark_shapes(panel: Panel, mark: Mark) -> tuple[Shape, ...]:
    if mark.role in _OUTLINES:
        rows, columns = zip(*mark.cells, strict=True)
        x, y = panel.x + min(columns) * panel.side, panel.y + min(rows) * panel.side
        wide = (max(columns) - min(columns) + 1) * panel.side
        high = (max(rows) - min(rows) + 1) * panel.side
        return (Shape("rect", mark.role, (x - 1, y - 1, wide + 2, high + 2)),)
    return tuple(Shape("rect", mark.role, _box(panel, at)) for at in mark.cells)


def _links(scene: Scene, panels: dict[str, Panel]) -> list[Layer]:
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
            layers.append(Layer((Shape("lines", "link", tuple(places)),), steps))
    return layers


def _still_values(
    scene: Scene, panels: dict[str, Panel], sizes: dict[str, float]
) -> Iterable[Shape]:
    changing = {(write.panel, write.at) for step in scene.steps for write in step.writes}
    for panel in panels.values():
        for cell in panel.cells:
            if cell.value is not None and (panel.name, cell.at) not in changing:
                style = "quiet" if cell.role else "text"
                yield _value(panel, cell.at, cell.value, style, sizes[panel.name])


def _written(scene: Scene, panels: dict[str, Panel], sizes: dict[str, float]) -> list[Layer]:
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
        for value, steps in _runs(values):
            if value is not None:
                shape = _value(panels[name], at, value, style, sizes[name])
                together.setdefault(steps, []).append(shape)
    ordered = sorted(together.items(), key=lambda item: (item[0].start, item[0].stop))
    return [Layer(tuple(shapes), steps) for steps, shapes in ordered]


def _sizes(scene: Scene, panels: dict[str, Panel]) -> dict[str, float]:
    """The size of the numbers of each panel: that at which its longest still fits."""
    longest = dict.fromkeys(panels, 1)
    values = [(panel.name, cell.value) for panel in panels.values() for cell in panel.cells]
    values += [(write.panel, write.value) for step in scene.steps for write in step.writes]
    for name, value in values:
        longest[name] = max(longest[name], len(shown(value, _ROOM)))
    return {
        name: round(min(0.5 * panel.side, 1.65 * (panel.side - 2) / longest[name]), 1)
        for name, panel in panels.items()
    }


def _value(panel: Panel, at: At, value: Any, style: str, size: float) -> Shape:
    x, y, wide, high = _box(panel, at)
    place = (x + wide / 2, y + high / 2 + 0.36 * size)
    return Shape("text", style, place, shown(value, _ROOM), size)


def _labels(panels: Iterable[Panel], language: str) -> Iterable[Shape]:
    for panel in panels:
        if panel.label is not None:
            y = panel.y - 6 if not panel.label_below else panel.y + panel.height + _LABEL + 3
            place = (panel.x + panel.width / 2, y)
            yield Shape("text", "quiet", place, say(panel.label, language), _LABEL)


def _captions(
    scene: Scene, language: str, width: float, y: float, zoom: float
) -> tuple[list[Layer], float]:
    captions = [step.caption for step in scene.steps]
    size = _CAPTION * zoom
    layers = []
    for caption, steps in _runs(captions):
        lines = _wrapped(say(caption, language), width, size)
        shapes = tuple(
            Shape("text", "text", (_MARGIN, y + index * size * _LINE + size), line, size, "start")
            for index, line in enumerate(lines)
        )
        layers.append(Layer(shapes, steps))
    return layers, y + _most_lines(captions, width, size) * size * _LINE + 14


def _legend(
    scene: Scene, language: str, width: float, y: float, zoom: float
) -> tuple[list[Shape], float]:
    used = {mark.role for step in scene.steps for mark in step.marks if mark.cells}
    for panel in scene.panels:
        for cell in panel.cells:
            used.update(cell.role.split())
    shapes: list[Shape] = []
    x, size, side = _MARGIN, _LEGEND * zoom, _SWATCH * zoom
    keys = [key for key in _LEGENDS if key in used]
    for key in keys:
        words = text(f"legend.{key}")
        wide = side + 7 + _widest(words, size)
        if x > _MARGIN and x + wide > _MARGIN + width:
            x, y = _MARGIN, y + side + 8
        swatch = (x, y, side, side)
        shapes.append(Shape("rect", "padding" if key == "unread" else key, swatch))
        if key in ("unread", "cropped"):
            shapes.append(Shape("lines", "hatch", _hatch(swatch)))
        place = (x + side + 6, y + side / 2 + size * 0.36)
        shapes.append(Shape("text", "quiet", place, say(words, language), size, "start"))
        x += wide + 14
    return shapes, y + (side + 8 if keys else 0)


def _box(panel: Panel, at: tuple[int, int]) -> tuple[float, float, float, float]:
    inset = 1.0 if panel.side >= 12 else 0.5
    side = panel.side - 2 * inset
    return (panel.x + at[1] * panel.side + inset, panel.y + at[0] * panel.side + inset, side, side)


def _hatch(box: Sequence[float], step: float = 7) -> tuple[float, ...]:
    """Lines that rise to the right, within a box."""
    left, top, wide, high = box
    places: list[float] = []
    total = step / 2
    while total < wide + high:
        start, end = max(0.0, total - high), min(wide, total)
        places += [left + start, top + total - start, left + end, top + total - end]
        total += step
    return tuple(round(place, 2) for place in places)


def _runs(values: Sequence[Any]) -> Iterable[tuple[Any, range]]:
    """Equal neighbours, and the steps that they take."""
    start = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[start]:
            yield values[start], range(start, index)
            start = index


def moved(shape: Shape, dx: float, dy: float) -> Shape:
    """The shape at another place."""
    if not (dx or dy):
        return shape
    place = shape.place
    if shape.kind == "rect":
        place = (place[0] + dx, place[1] + dy, *place[2:])
    else:
        place = tuple(p + (dy if index % 2 else dx) for index, p in enumerate(place))
    return Shape(shape.kind, shape.style, place, shape.text, shape.size, shape.anchor)
