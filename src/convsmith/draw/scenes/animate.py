"""`animate(layer, size)`: a layer of the arithmetic as a scene, whatever kind it is."""

from __future__ import annotations

from typing import Annotated, Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.arithmetic.normalise import Size, choice
from convsmith.draw.command import Command, Option
from convsmith.draw.options import (
    Dilation,
    Groups,
    OutputPadding,
    Padding,
    PaddingMode,
    Transposed,
    Values,
    Weight,
    build_layer,
    named_axes,
    parse_channels,
    parse_size,
)
from convsmith.draw.reading import optional_values, optional_weight, parse_number
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.matrix import matrix
from convsmith.draw.scenes.pooling import pooling
from convsmith.draw.scenes.sliding import sliding
from convsmith.draw.scenes.stamping import stamping
from convsmith.draw.scenes.values import default_image, drawn_size, shape_of
from convsmith.draw.scenes.zeros import zeros
from convsmith.errors import ArgumentError

__all__ = ["COMMANDS", "VIEWS", "animate"]

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
        size: the spatial size of the input, an int, or one per axis.
        values: the input, shaped (channels, *size); (*size) is enough for one channel. By default
            small whole numbers, the same every time. A pool takes its channels from them.
        weight: shaped as `layer.weight_shape`; (*kernel_size) is enough for one channel.
        bias: one number per output channel; by default none is drawn.
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
    check_dress(language, theme)
    if not isinstance(layer, (Conv, ConvTranspose, Pool)):
        raise ArgumentError(f"a Conv, ConvTranspose or Pool can be drawn, not {layer!r}")
    lengths = drawn_size(size, layer.dims)
    if view is not None:
        choice("view", view, VIEWS)
        if not isinstance(layer, ConvTranspose):
            raise ArgumentError(f"view is for transposed convolutions, not for {layer!r}")
    if isinstance(layer, Pool):
        if weight is not None or bias is not None:
            raise ArgumentError(f"a pool takes neither weight nor bias: {layer!r}")
        scene = pooling(layer, lengths, values)
    elif isinstance(layer, ConvTranspose):
        if view == "matrix":
            if bias is not None:
                raise ArgumentError(f"a bias is not part of the matrix: leave it out for {layer!r}")
            scene = matrix(layer, lengths, values=values, weight=weight)
        elif view == "zeros":
            scene = zeros(layer, lengths, values, weight, bias)
        else:
            scene = stamping(layer, lengths, values, weight, bias)
    else:
        scene = sliding(layer, lengths, values, weight, bias)
    return dressed(scene, language, theme)


def _command(
    size: Annotated[
        str | None,
        Option("Size of the input, such as 7x7, or 7 for all axes.", ("--in",), "ROWSxCOLUMNS"),
    ] = None,
    kernel: Annotated[str, Option("Size of the kernel, such as 3 or 3x2.", metavar="SIZE")] = "3",
    stride: Annotated[
        str | None, Option("1 by default; for a pool, as large as its kernel.", metavar="SIZE")
    ] = None,
    padding: Padding = "0",
    dilation: Dilation = "1",
    groups: Groups = 1,
    channels: Annotated[
        str | None,
        Option("1:1 by default; with --groups, one channel per group.", metavar="IN:OUT"),
    ] = None,
    dims: Annotated[
        int | None, Option("1, 2 or 3 axes; by default as many as the sizes have.")
    ] = None,
    padding_mode: PaddingMode = "zeros",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    view: Annotated[str | None, Option("With --transposed: scatter, zeros or matrix.")] = None,
    pool: Annotated[str | None, Option("Draw a pooling layer instead: max or average.")] = None,
    ceil: Annotated[bool, Option("With --pool: round the output size up.")] = False,
    values: Values = None,
    weight: Weight = None,
    bias: Annotated[str | None, Option("One number per output channel.", metavar="N,N,…")] = None,
) -> Scene:
    """Draw a convolution, transposed convolution or pooling layer, with its real numbers."""
    if view is not None and not transposed:
        raise ArgumentError("--view needs --transposed")
    lengths = None if size is None else parse_size("--in", size)
    ins, outs = parse_channels(channels, groups)
    image = optional_values(values, lengths, ins)
    kernels = optional_weight(weight)
    named = named_axes(
        dims, size, kernel, stride, dilation, output_padding, padding=padding,
        arrays=(kernels, image) if ins == outs == 1 else (),
    )  # fmt: skip
    if lengths is None:
        lengths = (7,) * (named or 2) if image is None else _spatial(image, ins, named)
    axes = named or (2 if isinstance(lengths, int) else len(lengths))
    layer = build_layer(
        axes, kernel, stride, padding, dilation, (ins, outs), groups, padding_mode,
        transposed=transposed, output_padding=output_padding, pool=pool, ceil=ceil,
    )  # fmt: skip
    if pool is not None and image is None and ins > 1:
        each = (lengths,) * axes if isinstance(lengths, int) else lengths
        image = default_image((ins, *each))
    numbers = None if bias is None else [parse_number(n, "--bias") for n in bias.split(",")]
    return animate(layer, lengths, values=image, weight=kernels, bias=numbers, view=view)


def _spatial(image: Any, ins: int, dims: int | None) -> tuple[int, ...]:
    """The spatial size of the user's values, which may come with an axis of channels."""
    shape = shape_of(image)
    axes = dims or (
        len(shape) - 1 if len(shape) > 1 and (ins > 1 or len(shape) > 2) else len(shape)
    )
    if len(shape) not in (axes, axes + 1) or not 1 <= axes <= 3:
        raise ArgumentError(f"--values is shaped {shape}: expected (channels, rows, columns)")
    return shape[len(shape) - axes :]


COMMANDS = (Command("conv", _command),)
