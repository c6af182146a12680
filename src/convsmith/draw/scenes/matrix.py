# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A convolution as one sparse matrix: one row per output value, one column per input value."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from convsmith.arithmetic import Conv, ConvTranspose
from convsmith.arithmetic.normalise import Size
from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.options import (
    Channels,
    Dilation,
    Dims,
    Groups,
    Input,
    Kernel,
    OutputPadding,
    Padding,
    PaddingMode,
    Stride,
    Transposed,
    Values,
    Weight,
    build_layer,
    named_axes,
    parse_channels,
    planar,
)
from convsmith.draw.reading import optional_values, optional_weight
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.im2col import im2col
from convsmith.draw.scenes.rows import MatrixRows
from convsmith.draw.scenes.values import drawn_size
from convsmith.errors import ArgumentError

__all__ = ["COMMANDS", "EXAMPLES", "matrix"]


def matrix(
    layer: Conv | ConvTranspose,
    size: Size,
    *,
    values: Any = None,
    weight: Any = None,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw the matrix M of a convolution, `output = M · input`, row by row.

    M is shaped (out_channels·outputs, in_channels·inputs), as `convolution_matrix` makes it; that
    of a transposed convolution is the transpose of the convolution's with the same kernel. Of a
    large one the first rows and columns are drawn, and the drawing says so.

    Args:
        layer: `Conv` or `ConvTranspose`, of one or two axes; a bias is left out.
        size: the spatial size of the input, an int, or one per axis.
        values: the input, shaped (channels, *size); (*size) is enough for one channel.
        weight: shaped as `layer.weight_shape`; (*kernel_size) is enough for one channel.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: a size without output, arrays of another shape, a pool, or three axes.

    >>> import convsmith as cs
    >>> scene = matrix(cs.ConvTranspose(1, 1, 3), 2)
    >>> scene, scene.panel("matrix").size
    (Scene('matrix', 6 panels, 16 steps), (16, 4))
    """
    check_dress(language, theme)
    if not isinstance(layer, (Conv, ConvTranspose)):
        raise ArgumentError(f"a Conv or ConvTranspose has a matrix, not {layer!r}")
    if layer.dims > 2:
        raise ArgumentError(f"a matrix is drawn for one or two axes, not {layer.dims}: {layer!r}")
    lengths = drawn_size(size, layer.dims)
    return dressed(MatrixRows(layer, lengths, values, weight).scene(), language, theme)


def _command(
    size: Input = "4",
    kernel: Kernel = "3",
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    groups: Groups = 1,
    channels: Channels = None,
    dims: Dims = None,
    padding_mode: PaddingMode = "zeros",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    as_im2col: Annotated[
        bool, Option("Patches as columns instead of the sparse matrix.", ("--im2col",))
    ] = False,
    values: Values = None,
    weight: Weight = None,
) -> Scene:
    """Draw a convolution as a matrix, row by row, or as im2col."""
    named = named_axes(dims, size, kernel, stride, dilation, output_padding, padding=padding)
    lengths, axes = planar(size, named)
    both = parse_channels(channels, groups)
    layer: Any = build_layer(
        axes, kernel, stride, padding, dilation, both, groups, padding_mode,
        transposed=transposed, output_padding=output_padding,
    )  # fmt: skip
    draw = im2col if as_im2col else matrix
    image = optional_values(values, lengths, both[0])
    return draw(layer, lengths, values=image, weight=optional_weight(weight))


COMMANDS = (Command("matrix", _command),)

_STAMP = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]

EXAMPLES = (
    Example("matrix", "matrix", "4×4 by 3×3: a 4×16 matrix", "4×4 与 3×3：4×16 矩阵",
            partial(matrix, Conv(1, 1, 3), 4, weight=_STAMP)),
    Example("matrix_padding", "matrix", "Padding makes it square", "填充使矩阵成为方阵",
            partial(matrix, Conv(1, 1, 3, padding=1), 4, weight=_STAMP)),
    Example("matrix_stride", "matrix", "A stride leaves rows out", "步幅使行数减少",
            partial(matrix, Conv(1, 1, 2, stride=2), 4)),
    Example("matrix_dilated", "matrix", "A dilation spreads the weights", "空洞使权重散开",
            partial(matrix, Conv(1, 1, 2, dilation=2), 4, weight=[[1, 2], [3, 4]])),
    Example("matrix_groups", "matrix", "Groups are blocks on the diagonal", "分组是对角线上的块",
            partial(matrix, Conv(2, 2, 2, groups=2), 3)),
    Example("transposed_matrix", "transposed", "The same by the matrix: 4×16 transposed to 16×4",
            "同一运算的矩阵：4×16 转置为 16×4",
            partial(matrix, ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=_STAMP),
            order=20),
)  # fmt: skip
