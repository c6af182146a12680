"""Over an image: the receptive fields of a network's layers, and how much each pixel counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from convsmith.arithmetic import Region
from convsmith.draw.scene import Mark, Panel, Photo, Scene, Step
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.scenes.values import grid, plain, shape_of
from convsmith.draw.scenes.ways import SHADES, shade
from convsmith.draw.words import Text, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import percent
from convsmith.report.pixels import png_of, size_of
from convsmith.report.plane import Plane, Products, as_region

__all__ = ["effective_over", "field_over"]

_WIDE, _BLOCKS, _HEAT = 400.0, 40, 32
# More fields than these are no drawing; of a field far larger than the image only a part is shown.
_MOST, _BEYOND = 60, 1.0


def field_over(
    image: Any,
    fields: Mapping[str, Products] | Products,
    *,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw receptive fields to scale over the image that they lie in, one after another.

    Args:
        image: pixels from 0 to 255, shaped (rows, columns) or (rows, columns, 3).
        fields: by the name of the layer, the products of positions (rows, columns) that one of
            its values is computed from, in pixels of the image; or those of a single layer.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no fields, fields without two axes, or no image.

    >>> pixels = [[10 * (r + c) for c in range(12)] for r in range(12)]
    >>> field_over(pixels, {"conv1": [([5, 6, 7], [5, 6, 7])], "conv2": [([4, 6, 8], [4, 6, 8])]})
    Scene('field_over', 2 panels, 2 steps)
    """
    check_dress(language, theme)
    pixels = plain(image)
    high, wide = size_of(pixels)
    named = fields if isinstance(fields, Mapping) else {"": fields}
    if not 1 <= len(named) <= _MOST:
        raise ArgumentError(f"1 to {_MOST} fields can be drawn, not {len(named)}")
    regions = {name: as_region(products) for name, products in named.items()}
    for name, region in regions.items():
        if len(region.hull) != 2:
            raise ArgumentError(
                f"a field over an image has two axes, not {len(region.hull)}: {name}"
            )
    (top, bottom), (left, right) = _view(list(regions.values()), high, wide)
    scale = min(_WIDE / (right - left), _WIDE / (bottom - top))
    photo = Photo(png_of(pixels), -left * scale, -top * scale, wide * scale, high * scale)
    panels = [Panel("view", "blank", (bottom - top, right - left), (), 0.0, 0.0, None, scale)]
    steps = []
    for index, (name, region) in enumerate(regions.items()):
        marks = [_outline(region, (top, bottom), (left, right))]
        every = prod(stop - start for start, stop in region.hull)
        if region.count() < every:
            panel, shades = _blocks(f"field{index}", region, top, left, scale)
            panels.append(panel)
            marks += shades
        steps.append(Step(_said(name, region, every), tuple(marks)))
    title = text("title.field_over")
    described = text("describe.field_over", title=title, size=by((high, wide)), count=len(regions))
    notes = (text("fact.image", size=by((high, wide))),)
    scene = Scene("field_over", title, described, tuple(panels), tuple(steps), notes,
                  photos=(photo,))  # fmt: skip
    return dressed(scene, language, theme)


def effective_over(
    image: Any, heat: Any, *, name: str = "", language: str = "en", theme: str = "auto"
) -> Scene:
    """Draw how much each pixel of an image counts for one value (Luo et al. 2016).

    The less a block of pixels counts, the more it is veiled. The blocks that count most come
    first, and the last step has all of them.

    Args:
        image: pixels from 0 to 255, shaped (rows, columns) or (rows, columns, 3).
        heat: numbers of at least 0, shaped (rows, columns) like the image.
        name: the layer whose value it is.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: heat of another size, below 0, or 0 everywhere.

    >>> pixels = [[10 * (r + c) for c in range(8)] for r in range(8)]
    >>> effective_over(pixels, [[r * c for c in range(8)] for r in range(8)])
    Scene('effective_over', 1 panels, 7 steps)
    """
    check_dress(language, theme)
    pixels, weights = plain(image), plain(heat)
    high, wide = size_of(pixels)
    if shape_of(weights) != (high, wide):
        raise ArgumentError(f"heat must be shaped {high}×{wide}, as the image is")
    most = max(map(max, weights))
    if min(map(min, weights)) < 0 or not most > 0:
        raise ArgumentError("heat is at least 0, and somewhere more")
    block = -(-max(high, wide) // _HEAT)
    means: dict[tuple[int, int], float] = {}
    for row in range(0, high, block):
        for column in range(0, wide, block):
            held = [
                weights[r][c]
                for r in range(row, min(high, row + block))
                for c in range(column, min(wide, column + block))
            ]
            means[row // block, column // block] = sum(held) / len(held)
    scale = _WIDE / max(high, wide)
    size = (-(-high // block), -(-wide // block))
    panel = Panel("heat", "blank", size, (), 0.0, 0.0, None, block * scale)
    photo = Photo(png_of(pixels), 0.0, 0.0, wide * scale, high * scale)
    top, total = max(means.values()), sum(means.values())
    levels = {at: int(shade(mean, top)[5:]) if mean > 0 else 0 for at, mean in means.items()}
    steps = []
    # The strongest first: the weaker ones come to it.
    for level in range(SHADES, 0, -1):
        veiled: dict[int, list[tuple[int, int]]] = {}
        for at, strength in levels.items():
            veiled.setdefault(SHADES - strength if strength >= level else SHADES, []).append(at)
        marks = tuple(
            Mark("heat", f"veil{by_}", tuple(cells)) for by_, cells in sorted(veiled.items()) if by_
        )
        held = [at for at, strength in levels.items() if strength >= level]
        share = sum(means[at] for at in held) / total
        steps.append(
            Step(
                text("caption.effective", share=percent(share),
                     area=percent(len(held) / len(means))),
                marks,
            )
        )  # fmt: skip
    strongest = sorted(means, key=lambda at: -means[at])
    half = next(n for n in range(1, len(strongest) + 1)
                if sum(means[at] for at in strongest[:n]) >= total / 2)  # fmt: skip
    area = percent(half / len(means))
    steps.append(Step(text("caption.effective", share=percent(0.5), area=area), steps[-1].marks))
    title = text("title.effective_over")
    described = text("describe.effective_over", title=title, size=by((high, wide)))
    notes = [text("fact.image", size=by((high, wide)))]
    if name:
        notes.insert(0, text("value.text", text=name))
    scene = Scene("effective_over", title, described, (panel,), tuple(steps), tuple(notes),
                  photos=(photo,))  # fmt: skip
    return dressed(scene, language, theme)


def _view(regions: Sequence[Region], high: int, wide: int) -> list[tuple[int, int]]:
    """Rows and columns that are shown: the image, and at most as much again around it."""
    found = []
    for axis, length in enumerate((high, wide)):
        around = int(length * _BEYOND)
        start = min(0, *(region.hull[axis][0] for region in regions))
        stop = max(length, *(region.hull[axis][1] for region in regions))
        found.append((max(start, -around), min(stop, length + around)))
    return found


def _outline(region: Region, rows: tuple[int, int], columns: tuple[int, int]) -> Mark:
    ends = []
    for (start, stop), (low, high) in zip(region.hull, (rows, columns), strict=True):
        ends.append((max(start, low) - low, min(stop, high) - 1 - low))
    (a, b), (c, d) = ends
    return Mark("view", "field", ((a, c), (b, d)))


def _blocks(
    name: str, region: Region, top: int, left: int, scale: float
) -> tuple[Panel, list[Mark]]:
    """What is not read, in blocks of pixels: the more of a block, the more it is veiled."""
    (a, b), (c, d) = region.hull
    side = -(-max(b - a, d - c) // _BLOCKS)
    size = (-(-(b - a) // side), -(-(d - c) // side))
    levels = dict.fromkeys(grid(size), 0)
    for level, blocks in enumerate(Plane.of(region).blocks(side, SHADES), 1):
        levels |= {((y - a) // side, (x - c) // side): level for x, y, _, _ in blocks}
    marks = []
    for veil in range(1, SHADES + 1):
        cells = tuple(at for at, level in levels.items() if SHADES - level == veil)
        if cells:
            marks.append(Mark(name, f"veil{veil}", cells))
    panel = Panel(name, "blank", size, (), (c - left) * scale, (a - top) * scale, None,
                  side * scale)  # fmt: skip
    return panel, marks


def _said(name: str, region: Region, every: int) -> Text:
    size = by([stop - start for start, stop in region.hull])
    said = text("caption.field", size=size, seen=region.count(), every=every,
                share=percent(region.count() / every))  # fmt: skip
    return text("caption.layer", name=name, said=said) if name else said
