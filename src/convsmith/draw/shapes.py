"""What a picture is made of: shapes at places, in layers that come, go and move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Overlay", "Picture", "Shape", "hatched", "moved", "runs"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A `rect` (left, top, width, height), `lines` (x, y, x, y, …), a `text` (x, baseline).

    Or a `block`, a rect with sharp corners, or an `image`, whose text is a PNG in base64.
    """

    kind: str
    style: str
    place: tuple[float, ...]
    text: str = ""
    size: float = 0.0
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Overlay:
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
    layers: tuple[Overlay, ...]
    steps: int
    language: str
    theme: str
    captions: tuple[str, ...] = ()
    seconds: float = 1.0

    def frame(self, step: int) -> list[Shape]:
        """The shapes of one step, at their places."""
        shapes = []
        for layer in self.layers:
            offset = layer.at(step)
            if offset is not None:
                shapes += [moved(shape, *offset) for shape in layer.shapes]
        return shapes


def moved(shape: Shape, dx: float, dy: float) -> Shape:
    """The shape at another place."""
    if not (dx or dy):
        return shape
    place = shape.place
    if shape.kind in ("rect", "block", "image"):
        place = (place[0] + dx, place[1] + dy, *place[2:])
    else:
        place = tuple(p + (dy if index % 2 else dx) for index, p in enumerate(place))
    return Shape(shape.kind, shape.style, place, shape.text, shape.size, shape.anchor)


def hatched(box: Sequence[float], step: float = 7) -> tuple[float, ...]:
    """Lines that rise to the right, within a box."""
    left, top, wide, high = box
    places: list[float] = []
    total = step / 2
    while total < wide + high:
        start, end = max(0.0, total - high), min(wide, total)
        places += [left + start, top + total - start, left + end, top + total - end]
        total += step
    return tuple(round(place, 2) for place in places)


def runs(values: Sequence[Any]) -> Iterable[tuple[Any, range]]:
    """Equal neighbours, and the steps that they take."""
    start = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[start]:
            yield values[start], range(start, index)
            start = index
