# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Over an image: the receptive fields of a network's layers, and how much each pixel counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, hypot, prod, sin
from typing import Any

from convsmith.arithmetic import Chain, Conv, Region
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.scenes.values import grid, plain, shape_of
from convsmith.draw.scenes.ways import SHADES, shade, ways_back
from convsmith.draw.storyboard import Mark, Panel, Photo, Step
from convsmith.draw.words import Text, Words, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import percent
from convsmith.report.pixels import png_of, size_of
from convsmith.report.plane import Plane, Products, as_region

__all__ = ["EXAMPLES", "WORDS", "effective_over", "field_over"]

WORDS: Words = {
    "title.field_over": ("Receptive fields over the image", "图像上的感受野"),
    "title.effective_over": ("Effective receptive field", "有效感受野"),
    "fact.image": ("image {size}", "图像 {size}"),
    "caption.layer": ("{name}: {said}", "{name}：{said}"),
    "caption.field": (
        "field {size}, {seen} of {every} positions read ({share})",
        "感受野 {size}，读 {seen}/{every} 个位置（{share}）",
    ),
    "caption.effective": (
        "{share} of the weight lies in {area} of the image",
        "{share} 的权重位于图像的 {area} 中",
    ),
    "describe.field_over": (
        "{title}: an image of {size}, and over it receptive fields to scale, one by one: {count}",
        "{title}：{size} 的图像，按比例画出 {count} 层的感受野",
    ),
    "describe.effective_over": (
        "{title}: an image of {size}, and over it how much each block of pixels counts",
        "{title}：{size} 的图像，标出每块像素的权重",
    ),
}

_WIDE, _BLOCKS, _HEAT = 400.0, 40, 32
# More fields cannot be told apart; of one far larger than the image only a part is shown.
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
        steps.append(Step(_caption(name, region, every), tuple(marks)))
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
    first, and the last step shows all of them.

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
    ranges = []
    for axis, length in enumerate((high, wide)):
        around = int(length * _BEYOND)
        start = min(0, *(region.hull[axis][0] for region in regions))
        stop = max(length, *(region.hull[axis][1] for region in regions))
        ranges.append((max(start, -around), min(stop, length + around)))
    return ranges


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


def _caption(name: str, region: Region, every: int) -> Text:
    size = by([stop - start for start, stop in region.hull])
    caption = text("caption.field", size=size, seen=region.count(), every=every,
                share=percent(region.count() / every))  # fmt: skip
    return text("caption.layer", name=name, said=caption) if name else caption


_SIDE, _ROW, _COLUMN = 96, 50, 60


def _photo() -> list[list[list[int]]]:
    """Hills under a low sun, computed: no image has to be kept."""
    rows = []
    for r in range(_SIDE):
        row = []
        for c in range(_SIDE):
            y, x = r / _SIDE, c / _SIDE
            ridges = [
                0.55 + 0.06 * sin(9 * x),
                0.68 + 0.07 * sin(6 * x + 2),
                0.84 + 0.05 * sin(11 * x),
            ]
            hill = sum(y > ridge for ridge in ridges)
            glow = exp(-(hypot(x - 0.68, y - 0.34) ** 2) / 0.02)
            if hill:
                shade = (0.75, 0.5, 0.3)[hill - 1]
                colour = (70 * shade + 30, 120 * shade + 40, 110 * shade + 30)
            else:
                colour = (235 - 90 * (0.5 - y), 190 - 40 * y + 40 * glow, 150 + 90 * (0.5 - y))
            row.append(
                [max(0, min(255, round(level + 60 * glow * (not hill)))) for level in colour]
            )
        rows.append(row)
    return rows


def _fields() -> dict[str, Region]:
    """The fields of four dilated layers in series, around a place of the photo."""
    layers = _rates(2, 2, 4, 8)
    fields = {}
    for depth in range(1, len(layers) + 1):
        along = Chain(*layers[:depth]).receptive_field()
        middle = (along.start + along.stop - 1) // 2
        name = f"conv{depth} ({', '.join(str(each.dilation[0]) for each in layers[:depth])})"
        fields[name] = Region([(along.shift(_ROW - middle), along.shift(_COLUMN - middle))])
    return fields


def _rates(*rates: int) -> list[Conv]:
    return [Conv(1, 1, 3, dilation=rate) for rate in rates]


def _field_over() -> Scene:
    return field_over(_photo(), _fields())


def _effective_over() -> Scene:
    """Equal weights: a pixel counts as much as there are ways to it."""
    along = list(ways_back(_rates(1, 2, 3, 4, 5, 6, 7), 0)[-1].values())
    first = len(along) // 2

    def at(place: int, middle: int) -> int:
        index = place - middle + first
        return along[index] if 0 <= index < len(along) else 0

    heat = [[at(r, _ROW) * at(c, _COLUMN) for c in range(_SIDE)] for r in range(_SIDE)]
    return effective_over(_photo(), heat)


EXAMPLES = (
    Example("field_over", "field", "Fields of four dilated layers over an image",
            "图像上四个空洞卷积层的感受野", _field_over, order=60),
    Example("effective_over", "field", "The effective field of seven layers of equal weights",
            "七个等权重层的有效感受野", _effective_over, order=60),
)  # fmt: skip
