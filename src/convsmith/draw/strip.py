"""All steps of a picture beside one another, for print: the last first, then each in its turn."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt

from convsmith.draw.shapes import Overlay, Picture, Shape, moved

__all__ = ["strip_of"]

_GAP = 12
_MOST = 60


def strip_of(picture: Picture) -> Picture:
    """A still picture of all frames in rows; of more than sixty, evenly chosen ones."""
    steps = list(range(picture.steps))
    if len(steps) > _MOST:
        steps = [round(i * (picture.steps - 1) / (_MOST - 1)) for i in range(_MOST)]
    order = [picture.steps - 1, *steps] if picture.steps > 1 else [0]
    # Whole pixels, so that every frame is drawn alike.
    wide, high = ceil(picture.width + _GAP), ceil(picture.height + _GAP)
    # About as wide as it is high, as a page is.
    across = max(1, min(len(order), ceil(sqrt(len(order) * high / wide))))
    down = ceil(len(order) / across)
    shapes: list[Shape] = []
    for index, step in enumerate(order):
        x, y = (index % across) * wide, (index // across) * high
        number = str(step + 1) if index else "✓"
        shapes += [moved(shape, x, y) for shape in picture.frame(step)]
        place = (x + picture.width - 14, y + 28)
        shapes.append(Shape("text", "quiet", place, number, 14, "end"))
    return replace(
        picture,
        width=across * wide - _GAP,
        height=down * high - _GAP,
        layers=(Overlay(tuple(shapes)),),
        steps=1,
    )
