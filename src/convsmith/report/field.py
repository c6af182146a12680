"""A receptive field to scale: the positions read, the holes between them, the image around them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod

from convsmith.arithmetic import Region
from convsmith.errors import ArgumentError
from convsmith.report.drawing import WIDTH, Rect, drawing, hatch, path, units
from convsmith.report.formats import count, percent, shape
from convsmith.report.plane import Plane, Products, as_region
from convsmith.report.style import PICTURE_CSS
from convsmith.report.text import escape

__all__ = ["field_picture"]

# In pixels: the largest cell, the smallest that has a line to the next, the height of a strip.
_CELL, _GRID, _STRIP = 22, 5, 26
_LINE, _SWATCH = 22, 14
# Beyond so many rectangles a browser is slow, and cells are smaller than a pixel: blocks are drawn.
_MOST, _BLOCKS, _LEVELS = 4000, 90, 8
# Where an image is so many times larger than the field, it gets a small drawing of its own.
_FAR, _ASIDE = 3, 96

Hull = tuple[tuple[int, int], ...]


def field_picture(
    positions: Products, *, image: Sequence[int] | None = None, title: str = "Receptive field"
) -> str:
    """Draw the exact set of positions that a value is computed from.

    Of three axes, the slice in the middle of the first is drawn, or the nearest that is read.

    Args:
        positions: products of positions along one, two or three axes, rows before columns.
        image: the lengths of the image along those axes, its first position 0; its frame is drawn.
        title: what is drawn; not shown, read out and shown on hovering.

    Raises:
        ArgumentError: nothing to draw, more than three axes, or an image with other axes.

    >>> svg = field_picture([([0, 2, 4], [0, 2, 4])], image=(5, 5))
    >>> "9 of 25 positions read (36.0 %)" in svg, "largest gap 1×1" in svg
    (True, True)
    """
    region = as_region(positions)
    hull, axes = region.hull, len(region.hull)
    if image is not None and len(image) != axes:
        raise ArgumentError(f"a field of {axes} axes in an image of {len(image)}: {tuple(image)}")
    size = tuple(stop - start for start, stop in hull)
    read, every = region.count(), prod(size)
    gaps = tuple(region.along(axis).largest_gap for axis in range(axes))
    sentences = [f"{count(read)} of {count(every)} positions read ({percent(read / every)})"]
    lines = [f"Field {shape(size)}"]
    plane_region, at = _slice(region) if axes == 3 else (region, None)
    if at is not None:
        lines.append(f"slice {at - hull[0][0] + 1} of {size[0]} along the first axis")
    whole = Plane.of(plane_region)
    if side := _side(whole):
        lines.append(f"blocks of {side}×{side}, stronger where more is read")
    flat = _flat(plane_region.hull)
    frame = None if image is None else _flat(tuple((0, length) for length in image[-2:][:axes]))
    parts = [_text(i, text, "heading" if not i else "small") for i, text in enumerate(lines)]
    top = len(lines) * _LINE + 4
    holes = read < every
    far = frame is not None and all(
        f[1] - f[0] > _FAR * (h[1] - h[0]) for f, h in zip(frame, flat, strict=True)
    )
    if axes == 1 and frame is not None:
        far = frame[1][1] > _FAR * size[0]
    within = frame if frame is not None and not far else flat
    view = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(flat, within, strict=True))
    room = WIDTH - (_ASIDE + 24 if far and axes > 1 else 0)
    drawn, height = _plane(whole, flat, view, None if far else frame, room, top, holes, axes == 1)
    parts += drawn
    if far and frame is not None:
        below = top + height + 12 if axes == 1 else top
        left = 0 if axes == 1 else WIDTH - _ASIDE - 1
        aside, high = _locator(flat, frame, left, below, WIDTH if axes == 1 else _ASIDE, axes == 1)
        parts += aside
        height = max(height, below + high - top)
    y = top + height + 10
    keys = [("read", sentences[0])]
    if holes:
        sentences.append(f"{count(every - read)} are never read, largest gap {shape(gaps)}")
        keys.append(("hole", sentences[1]))
    if image is not None:
        sentences.append(f"image {shape(image)}")
        keys.append(("frame", f"image {shape(image)}" + ("" if far else ", to the same scale")))
    parts += _legend(keys, y)
    description = "; ".join([*lines, *sentences])
    return drawing(parts, y + len(keys) * _LINE, title, description, width=WIDTH, css=PICTURE_CSS)


def _slice(region: Region) -> tuple[Region, int]:
    """The plane at the middle of the first axis, or the nearest one that is read."""
    start, stop = region.hull[0]
    middle = (start + stop - 1) / 2
    at = min(region.along(0), key=lambda position: (abs(position - middle), position))
    return Region(box[1:] for box in region if at in box[0]), at


def _flat(hull: Hull) -> Hull:
    """Rows and columns; one axis is a single row."""
    return hull if len(hull) == 2 else ((0, 1), *hull)


def _plane(
    plane: Plane,
    field: Hull,
    view: Hull,
    frame: Hull | None,
    room: int,
    top: float,
    holes: bool,
    strip: bool,
) -> tuple[list[str], float]:
    """The cells, hatched where nothing is read, and the frames; and how high that is."""
    (first_row, last_row), (first, last) = view
    across = min(_CELL, (room - 2) / (last - first))
    if not strip:
        across = min(across, (WIDTH - 2) / (last_row - first_row))
    # Whole pixels per cell look sharp; with smaller cells, space matters more.
    across = int(across) if across >= _GRID else across
    down = _STRIP if strip else across

    def to_scale(hull: Hull) -> Rect:
        (a, b), (c, d) = hull
        return (
            1 + (c - first) * across,
            top + 1 + (a - first_row) * down,
            (d - c) * across,
            (b - a) * down,
        )

    box = to_scale(field)
    parts = []
    if holes:
        parts.append(f'<path class="hatch" d="{hatch(box)}"/>')
    parts.append(
        f'<g transform="translate({units(1 - first * across)} '
        f'{units(top + 1 - first_row * down)}) scale({across:.6g} {down:.6g})">'
    )
    side = _side(plane)
    if not side:
        parts.append(f'<path class="s0 read" d="{path(plane.rects)}"/>')
    else:
        shades = plane.blocks(side, _LEVELS)
        # What is read in part is not hatched as well.
        parts.append(f'<path class="cover" d="{path(chain(*shades))}"/>')
        for level, blocks in enumerate(shades, 1):
            if blocks:
                opacity = units(level / _LEVELS)
                parts.append(f'<path class="s0" fill-opacity="{opacity}" d="{path(blocks)}"/>')
    if across >= _GRID:
        (a, b), (c, d) = field
        lines = [f"M{x} {a}V{b}" for x in range(c + 1, d)]
        lines += [f"M{c} {y}H{d}" for y in range(a + 1, b)]
        if lines:
            parts.append(f'<path class="grid" d="{"".join(lines)}"/>')
    parts.append("</g>")
    parts.append(_rect("box", box))
    if frame is not None:
        parts += [_rect("rim", to_scale(frame)), _rect("frame", to_scale(frame))]
    return parts, 2 + (last_row - first_row) * down


def _side(plane: Plane) -> int:
    """The side of the blocks that a plane of too many rectangles is drawn in; 0 where it is not."""
    rects = plane.rects
    if len(rects) <= _MOST:
        return 0
    across = max(x + w for x, _, w, _ in rects) - min(x for x, _, _, _ in rects)
    down = rects[-1][1] + rects[-1][3] - rects[0][1]
    # Even, as holes mostly have a period of 2: an odd side would beat with it.
    return 2 * -(-max(across, down) // (2 * _BLOCKS))


def _locator(
    field: Hull, frame: Hull, left: float, top: float, room: int, strip: bool
) -> tuple[list[str], float]:
    """The image small, and where in it the field lies; and how high that is."""
    view = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(field, frame, strict=True))
    (first_row, last_row), (first, last) = view
    across = (room - 2) / max(last - first, 1 if strip else last_row - first_row)
    down = _STRIP / 2 if strip else across

    def to_scale(hull: Hull) -> Rect:
        (a, b), (c, d) = hull
        return (
            left + 1 + (c - first) * across,
            top + 1 + (a - first_row) * down,
            # Never so small that it is not seen.
            max(2, (d - c) * across),
            max(2, (b - a) * down),
        )

    return (
        [_rect("s0 place", to_scale(field)), _rect("frame", to_scale(frame))],
        2 + (last_row - first_row) * down,
    )


def _legend(keys: Sequence[tuple[str, str]], top: float) -> list[str]:
    parts = []
    for index, (kind, text) in enumerate(keys):
        y = top + index * _LINE
        swatch = (1, y + 3, _SWATCH, _SWATCH)
        if kind == "read":
            parts.append(_rect("s0", swatch))
        elif kind == "hole":
            parts.append(f'<path class="hatch" d="{hatch(swatch, 5)}"/>')
            parts.append(_rect("box", swatch))
        else:
            parts.append(_rect("frame", swatch))
        parts.append(f'<text class="small" x="24" y="{units(y + 15)}">{escape(text)}</text>')
    return parts


def _text(line: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="0" y="{line * _LINE + 15}">{escape(text)}</text>'


def _rect(kind: str, rect: Rect) -> str:
    x, y, width, height = map(units, rect)
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>'
