"""A picture as pixels: the same shapes as in the SVG, drawn with Pillow."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from io import BytesIO
from math import hypot
from operator import sub
from typing import TYPE_CHECKING, Any

from convsmith.draw.fonts import font, is_chinese, split
from convsmith.draw.palette import COLOURS, STYLES, Style
from convsmith.draw.shapes import Picture, Shape
from convsmith.errors import ArgumentError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["frames", "gif", "image", "png"]

# Edges are smooth because everything is drawn so many times larger first.
_SMOOTH = 2
_LARGEST = 60_000_000
# The last step is held for so many more, as in the SVG.
_HOLD = 2
# Colours of a GIF; the number after them stands for what stays as it was.
_CLEAR = 95
# Colours whose levels differ by no more than this in sum are one.
_BESIDE = 18


def image(picture: Picture, step: int, scale: float = 2.0) -> Image:
    """One step, `scale` pixels per pixel of the picture.

    Raises:
        ArgumentError: an image larger than memory should have to hold.
        MissingExtra: Pillow is not installed.
    """
    return _drawn(picture, picture.frame(step), scale)


def frames(picture: Picture, scale: float = 2.0) -> Iterator[Image]:
    """Every step in its turn."""
    for step in range(picture.steps):
        yield image(picture, step, scale)


def png(picture: Picture, scale: float = 2.0) -> bytes:
    """The last step as PNG."""
    stream = BytesIO()
    image(picture, picture.steps - 1, scale).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def gif(picture: Picture, scale: float = 1.0) -> bytes:
    """All steps as a GIF that repeats, in one palette."""
    _pillow("GIF")
    from PIL import Image as Images

    every = list(frames(picture, scale))
    palette = _palette(every, picture.theme)
    flat = [frame.quantize(palette=palette, dither=Images.Dither.NONE) for frame in every]
    changed = [flat[0], *map(_change, flat, flat[1:])]
    times = [round(picture.seconds * 100) * 10] * len(flat)
    times[-1] *= 1 + _HOLD
    stream = BytesIO()
    changed[0].save(
        stream, "GIF", save_all=True, append_images=changed[1:], duration=times, loop=0,
        optimize=False, disposal=1, transparency=_CLEAR,
    )  # fmt: skip
    return stream.getvalue()


def _change(before: Image, after: Image) -> Image:
    """A frame with what stays as it was left clear: long runs of one value take no room."""
    from PIL import ImageChops

    same = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L")
    mask = same.point([255] + [0] * 255)
    image = after.copy()
    image.paste(_CLEAR, (0, 0, *image.size), mask)
    return image


def _palette(every: Sequence[Image], theme: str) -> Image:
    """The theme's own colours, and those between them that occur in the first and last steps."""
    from PIL import Image as Images

    chosen = [every[0], every[len(every) // 2], every[-1]]
    wide, high = chosen[0].size
    sheet = Images.new("RGB", (wide, high * len(chosen)))
    for index, frame in enumerate(chosen):
        sheet.paste(frame, (0, index * high))
    own = [_colour(name, theme) for name in COLOURS]
    room = _CLEAR - len(own)
    reduced = sheet.quantize(room, Images.Quantize.MEDIANCUT, dither=Images.Dither.NONE)
    levels = reduced.getpalette() or []
    others = [(levels[i], levels[i + 1], levels[i + 2]) for i in range(0, 3 * room, 3)]
    # Pillow looks colours up coarsely: what lies beside one of the theme's own would replace it.
    others = [c for c in others if all(sum(map(abs, map(sub, c, o))) > _BESIDE for o in own)]
    palette = Images.new("P", (1, 1))
    palette.putpalette([level for colour in (*own, *others) for level in colour])
    return palette


def _drawn(picture: Picture, shapes: Iterable[Shape], scale: float) -> Image:
    _pillow("an image")
    from PIL import Image as Images

    wide, high = round(picture.width * scale), round(picture.height * scale)
    if scale <= 0 or min(wide, high) < 1 or wide * high > _LARGEST:
        raise ArgumentError(f"an image of {wide}×{high} pixels cannot be drawn: change scale")
    # Even, as video wants it; a pixel of paper more is not seen.
    wide, high = wide + wide % 2, high + high % 2
    brush = _Brush(
        Images.new("RGB", (wide * _SMOOTH, high * _SMOOTH), _colour("paper", picture.theme)),
        scale * _SMOOTH,
        picture.theme,
    )
    for shape in shapes:
        brush.draw(shape)
    return brush.image.reduce(_SMOOTH)


class _Brush:
    def __init__(self, canvas: Image, scale: float, theme: str) -> None:
        from PIL import ImageDraw

        self.image, self.scale, self.theme = canvas, scale, theme
        self.pen = ImageDraw.Draw(canvas)

    def draw(self, shape: Shape) -> None:
        style = STYLES[shape.style]
        place = [value * self.scale for value in shape.place]
        if shape.kind == "text":
            self._text(shape, style, place)
        elif shape.kind == "image":
            self._image(shape, place)
        elif shape.kind == "lines":
            for index in range(0, len(place), 4):
                self._line(place[index : index + 4], style)
        else:
            corner = 0.0 if shape.kind == "block" else min(4.0, shape.place[2] / 5)
            if shape.kind == "block":  # one pixel less: the next block begins there
                place = [*place[:2], place[2] - 1, place[3] - 1]
            self._rect(place, style, corner * self.scale)

    def _text(self, shape: Shape, style: Style, place: Sequence[float]) -> None:
        size = max(1, round(shape.size * self.scale))
        # No face has both the Chinese letters and every sign of a formula.
        runs = [(run, font(bool(is_chinese(run)), size, style.bold)) for run in split(shape.text)]
        wide = sum(face.getlength(run) for run, face in runs)
        x = place[0] - {"start": 0.0, "middle": wide / 2, "end": wide}[shape.anchor]
        colour = _colour(style.fill or "ink", self.theme)
        for run, face in runs:
            self.pen.text((round(x), round(place[1])), run, colour, face, "ls")
            x += face.getlength(run)

    def _image(self, shape: Shape, place: Sequence[float]) -> None:
        from PIL import Image as Images

        x, y, wide, high = map(round, place)
        with Images.open(BytesIO(b64decode(shape.text))) as opened:
            how = Images.Resampling.BILINEAR
            self.image.paste(opened.convert("RGB").resize((wide, high), how), (x, y))

    def _rect(self, place: Sequence[float], style: Style, corner: float) -> None:
        x, y, wide, high = place
        box = (round(x), round(y), round(x + wide), round(y + high))
        if style.fill:
            self._filled(box, style, round(corner))
        if style.stroke and not style.dash:
            width = max(1, round(style.width * self.scale))
            half = width // 2
            outer = (box[0] - half, box[1] - half, box[2] + half, box[3] + half)
            colour = _colour(style.stroke, self.theme)
            self.pen.rounded_rectangle(outer, round(corner) + half, None, colour, width)
        elif style.stroke:
            a, b, c, d = box
            for side in ((a, b, c, b), (c, b, c, d), (c, d, a, d), (a, d, a, b)):
                self._line(side, style)

    def _filled(self, box: tuple[int, int, int, int], style: Style, corner: int) -> None:
        from PIL import Image as Images
        from PIL import ImageDraw

        colour = _colour(style.fill or "paper", self.theme)
        if style.wash == 1:
            self.pen.rounded_rectangle(box, corner, colour)
            return
        size = (box[2] - box[0] + 1, box[3] - box[1] + 1)
        mask = Images.new("L", size, 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, size[0] - 1, size[1] - 1), corner, round(255 * style.wash)
        )
        self.image.paste(colour, (box[0], box[1]), mask)

    def _line(self, ends: Sequence[float], style: Style) -> None:
        colour = _colour(style.stroke or "ink", self.theme)
        width = max(1, round(style.width * self.scale))
        for dash in _dashes(ends, [length * self.scale for length in style.dash]):
            self.pen.line(tuple(map(round, dash)), colour, width)


def _dashes(ends: Sequence[float], pattern: Sequence[float]) -> Iterator[tuple[float, ...]]:
    x, y, to_x, to_y = ends
    length = hypot(to_x - x, to_y - y)
    if not pattern or not length:
        yield x, y, to_x, to_y
        return
    done, index = 0.0, 0
    while done < length:
        end = min(length, done + pattern[index % len(pattern)])
        if index % 2 == 0:
            a, b = done / length, end / length
            yield (
                x + (to_x - x) * a, y + (to_y - y) * a, x + (to_x - x) * b, y + (to_y - y) * b,
            )  # fmt: skip
        done, index = end, index + 1


@cache
def _colour(name: str, theme: str) -> tuple[int, int, int]:
    """An image cannot ask its reader: what is not dark is light."""
    code = COLOURS[name][theme == "dark"]
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _pillow(what: str) -> Any:
    try:
        import PIL
    except ImportError:
        raise MissingExtra(f"drawing {what}", extra="draw", package="Pillow") from None
    return PIL
