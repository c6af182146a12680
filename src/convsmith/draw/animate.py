"""`animate(layer, size)`: a layer of the arithmetic as a scene, whatever kind it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.arithmetic.normalise import Size, choice, per_axis
from convsmith.draw.palette import THEMES
from convsmith.draw.scene import Scene
from convsmith.draw.words import LANGUAGES
from convsmith.errors import ArgumentError

__all__ = ["VIEWS", "animate"]

VIEWS = ("scatter", "zeros", "matrix")
"""A transposed convolution as stamps that add up, as a window over spread-out values, as a matrix.
"""


def animate(
    layer: Conv | ConvTranspose | Pool,
    size: Size,
    *,
    values: Any = None,
    weight: Any = None,
    bias: Any = None,
    language: str = "en",
    view: str | None = None,
    theme: str = "auto",
) -> Scene:
    """Draw what a layer computes, step by step, with its real numbers.

    Large maps are drawn as a crop, and many channels as the first few; the drawing says so, and
    every sum still counts all of them.

    Args:
        layer: `Conv`, `ConvTranspose` or `Pool`, of one, two or three axes.
        size: the spatial size of the input, an int or one an axis.
        values: the input, shaped (channels, *size); (*size) will do for one channel. By default
            small whole numbers, the same every time. A pool takes its channels from them.
        weight: shaped as `layer.weight_shape`; (*kernel_size) will do for one channel.
        bias: one number an output channel; by default none is drawn.
        language: `en` or `zh`.
        view: of a transposed convolution, `scatter` (default), `zeros` or `matrix` (without bias).
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: a size without output (the formula with the numbers), arrays of another
            shape, a kernel too large to draw, or an unknown word.

    >>> import convsmith as cs
    >>> scene = animate(cs.Conv(1, 1, 3, dilation=2), (7, 7))
    >>> scene, len(scene.values("output0"))
    (Scene('dilated', 3 panels, 9 steps), 9)
    """
    choice("language", language, LANGUAGES)
    choice("theme", theme, THEMES)
    if not isinstance(layer, (Conv, ConvTranspose, Pool)):
        raise ArgumentError(f"a Conv, ConvTranspose or Pool can be drawn, not {layer!r}")
    lengths = per_axis("size", size, layer.dims)
    if view is not None:
        choice("view", view, VIEWS)
        if not isinstance(layer, ConvTranspose):
            raise ArgumentError(f"view is for transposed convolutions, not for {layer!r}")
    if isinstance(layer, Pool):
        from convsmith.draw.scenes.pooling import pooling

        if weight is not None or bias is not None:
            raise ArgumentError(f"a pool takes neither weight nor bias: {layer!r}")
        scene = pooling(layer, lengths, values)
    elif isinstance(layer, ConvTranspose):
        if view == "matrix":
            from convsmith.draw.scenes.matrix import matrix

            if bias is not None:
                raise ArgumentError(f"a bias is no part of the matrix: leave it out of {layer!r}")
            scene = matrix(layer, lengths, values=values, weight=weight)
        elif view == "zeros":
            from convsmith.draw.scenes.zeros import spread

            scene = spread(layer, lengths, values, weight, bias)
        else:
            from convsmith.draw.scenes.stamping import stamping

            scene = stamping(layer, lengths, values, weight, bias)
    else:
        from convsmith.draw.scenes.sliding import sliding

        scene = sliding(layer, lengths, values, weight, bias)
    return replace(scene, language=language, theme=theme)
