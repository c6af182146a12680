# ruff: noqa: RUF001, RUF002
"""The pictures of the explorer; what was drawn once is kept, because a page asks twice."""

from __future__ import annotations

import re
import tempfile
from base64 import b64encode
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith import draw
from convsmith.arithmetic import Conv, ConvTranspose, convolution_matrix
from convsmith.explore.phrases import Language
from convsmith.explore.stack import StackLayer, chain, repair
from convsmith.explore.state import LayerState
from convsmith.report import field_picture, gridding_picture, map_picture

if TYPE_CHECKING:
    from convsmith.draw.scene import Scene

__all__ = [
    "MATRIX",
    "exported",
    "figure",
    "image",
    "image_of",
    "line_picture",
    "localised",
    "matrix_picture",
    "plane_picture",
    "scene",
    "svg",
]

MATRIX = 144
"""Rows or columns of the largest matrix that is drawn."""

# Positions along a side of the largest field that is drawn, and layers of the longest series.
_FIELD, _SERIES = 600, 6


@lru_cache(maxsize=32)
def scene(state: LayerState, view: str | None = None) -> Scene:
    """The animation of a layer on its input, with numbers of its own.

    Args:
        state: the layer.
        view: of a transposed convolution: `scatter` or `zeros`.
    """
    return draw.animate(state.layer(), state.size, view=view)


@lru_cache(maxsize=32)
def svg(state: LayerState, language: Language, view: str | None = None) -> str:
    """The animation as SVG."""
    return scene(state, view).svg(language=language)


@lru_cache(maxsize=32)
def image(state: LayerState, language: Language, view: str | None = None) -> str:
    """The animation as an `<img>`."""
    return image_of(svg(state, language, view))


def image_of(drawn: str) -> str:
    """A scene as an `<img>`, which a browser shows at once and keeps apart from the page.

    Set into the page as markup, a large scene takes a notebook one second to read, and the page's
    own style reaches into it.

    >>> image_of('<svg viewBox="0 0 80 40"><desc>two maps</desc></svg>').partition(" src=")[0]
    '<img class="cs-animation" style="--wide:80px;aspect-ratio:80/40" alt="two maps"'
    """
    size = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)', drawn)
    description = re.search(r"<desc>(.*?)</desc>", drawn, re.DOTALL)
    width, height = size.groups() if size else ("640", "480")
    data = b64encode(drawn.encode()).decode("ascii")
    return (
        f'<img class="cs-animation" style="--wide:{width}px;aspect-ratio:{width}/{height}" '
        f'alt="{description[1] if description else ""}" src="data:image/svg+xml;base64,{data}">'
    )


@lru_cache(maxsize=8)
def figure(drawn: str) -> str:
    """A picture that scrolls where it is wider than the page, by the keys, too."""
    return f'<figure class="cs-figure" tabindex="0">{drawn}</figure>'


def exported(state: LayerState, language: Language, suffix: str) -> bytes:
    """The animation as a file: `.gif` moves, `.html` has buttons to pause and step.

    Raises:
        MissingExtra: a GIF without Pillow.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene{suffix}"
        scene(state).save(path, language=language)
        return path.read_bytes()


@lru_cache(maxsize=32)
def matrix_picture(state: LayerState) -> str | None:
    """The matrix of a layer of one channel whose kernel holds 1, 2, 3, …; None where too large.

    >>> "map of 16×4" in matrix_picture(LayerState(kind="transposed", size=(2, 2)))
    True
    """
    layer = state.layer()
    if not isinstance(layer, (Conv, ConvTranspose)):
        return None
    if max(prod(state.size), prod(layer.output_size(state.size))) > MATRIX:
        return None
    weight = [[1 + r * state.kernel[1] + c for c in range(state.kernel[1])]
              for r in range(state.kernel[0])]  # fmt: skip
    alone = LayerState(**{**state.__dict__, "in_channels": 1, "out_channels": 1, "groups": 1})
    matrix = convolution_matrix(alone.layer(), weight, state.size)  # type: ignore[arg-type]
    return map_picture(matrix.toarray().tolist())


@lru_cache(maxsize=32)
def plane_picture(stack: tuple[StackLayer, ...], language: Language) -> str | None:
    """What one output value of a stack reads in the plane; None where it is too large."""
    seen = chain(stack).receptive_field()
    if seen.span > _FIELD:
        return None
    return localised(field_picture([(seen, seen)]), language)


@lru_cache(maxsize=32)
def line_picture(stack: tuple[StackLayer, ...], language: Language) -> str | None:
    """How a series of convolutions of one kernel and stride 1 reaches; None for other stacks."""
    plain = {(part.kind, part.kernel, part.stride) for part in stack}
    if plain != {("conv", stack[0].kernel, 1)} or len(stack) > _SERIES:
        return None
    rates = [part.dilation for part in stack]
    drawn = gridding_picture(rates, stack[0].kernel, repair(stack))
    return localised(drawn, language)


# The pictures of reports are in English; these are all the words that they have.
_CHINESE = (
    (
        r"Repaired: rates ([\d, ]+): ([\d,]+) of ([\d,]+) positions",
        r"修复后，空洞率 \1：读 \2/\3 个位置",
    ),
    (r"Rates ([\d, ]+): ([\d,]+) of ([\d,]+) positions", r"空洞率 \1：读 \2/\3 个位置"),
    (r">rate (\d+)<", r">空洞率 \1<"),
    (r">output<", r">输出<"),
    (r">([\d,]+) of ([\d,]+)<", r">读 \1/\2<"),
    (r"([\d,]+) of ([\d,]+) positions read \(([^)]*)\)", r"读 \1/\2 个位置（\3）"),
    (r"([\d,]+) are never read, largest gap ([\d×]+)", r"\1 个从未读取，最大间隔 \2"),
    (r"blocks of ([\d×]+), stronger where more is read", r"以 \1 为一块，颜色越深读取越多"),
    (r"Field ([\d×]+)", r"感受野 \1"),
    (r"Receptive field", r"感受野"),
    (r"Dilated convolutions in series", r"串联的空洞卷积"),
    (r"image ([\d×]+), to the same scale", r"图像 \1，同一比例"),
    (r"image ([\d×]+)", r"图像 \1"),
)


def localised(drawn: str, language: Language) -> str:
    """A picture of a report with its words in that language; shapes and numbers stay.

    >>> localised("<text>49 of 169 positions read (29.0 %)</text>", "zh")
    '<text>读 49/169 个位置（29.0 %）</text>'
    """
    if language == "en":
        return drawn
    for pattern, replacement in _CHINESE:
        drawn = re.sub(pattern, replacement, drawn)
    return drawn
