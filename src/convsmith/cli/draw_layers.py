"""`convsmith draw matrix`, `separable`, `mixing`: layers given by their parameters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convsmith.cli.draw import (
    Language,
    Output,
    Strip,
    Theme,
    app,
    build_layer,
    deliver,
    named_axes,
    parse_channels,
    parse_size,
)
from convsmith.cli.output import Force, check_targets
from convsmith.errors import ArgumentError

__all__ = ["matrix", "mixing", "separable"]

In = Annotated[str, typer.Option("--in", metavar="ROWSxCOLUMNS", help="The input, such as 4x4.")]
Kernel = Annotated[str, typer.Option(metavar="SIZE", help="Such as 3, or 3x2.")]
Stride = Annotated[str, typer.Option(metavar="SIZE", help="Step of the window.")]
Padding = Annotated[
    str, typer.Option(metavar="SIZE", help="1, 1x2, 0:1x2:3 (low:high), same or valid.")
]
Dilation = Annotated[str, typer.Option(metavar="SIZE", help="Distance between taps.")]
Channels = Annotated[str | None, typer.Option(metavar="IN:OUT", help="Such as 3:10.")]
Dims = Annotated[int | None, typer.Option(help="1 or 2 axes; else as --in has.")]
Values = Annotated[
    str | None, typer.Option(metavar="FILE", help="The input: .csv, .json or an image.")
]
Weight = Annotated[str | None, typer.Option(metavar="FILE", help="The kernel: .csv or .json.")]


@app.command("matrix")
def matrix(
    size: In = "4",
    kernel: Kernel = "3",
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    groups: Annotated[int, typer.Option(help="Parts of the channels that never mix.")] = 1,
    channels: Channels = None,
    dims: Dims = None,
    padding_mode: Annotated[
        str, typer.Option(help="zeros, reflect, replicate or circular.")
    ] = "zeros",
    transposed: Annotated[bool, typer.Option("--transposed", help="Transposed.")] = False,
    output_padding: Annotated[
        str, typer.Option(metavar="SIZE", help="With --transposed: positions added at the end.")
    ] = "0",
    im2col: Annotated[
        bool, typer.Option("--im2col", help="Patches as columns instead of the sparse matrix.")
    ] = False,
    values: Values = None,
    weight: Weight = None,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw a convolution as a matrix, row by row, or as im2col."""
    check_targets(output, force=force)
    from convsmith.draw import im2col as draw_im2col
    from convsmith.draw import matrix as draw_matrix

    named = named_axes(dims, size, kernel, stride, dilation, output_padding, padding=padding)
    lengths, axes = _lengths(size, named)
    ins, outs = parse_channels(channels, groups)
    layer: Any = build_layer(
        axes, kernel, stride, padding, dilation, ins, outs, groups, padding_mode, transposed,
        output_padding, None, False,
    )  # fmt: skip
    draw = draw_im2col if im2col else draw_matrix
    scene = draw(
        layer, lengths, **_arrays(values, weight, lengths, ins), language=language, theme=theme
    )
    deliver(scene, output, strip=strip, force=force)


@app.command("separable")
def separable(
    size: In = "5",
    kernel: Kernel = "3",
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    channels: Channels = "3:4",
    dims: Dims = None,
    areas: Annotated[
        bool, typer.Option("--areas", help="What it costs against the standard form, as areas.")
    ] = False,
    values: Values = None,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw a depthwise separable convolution: depthwise, then pointwise."""
    check_targets(output, force=force)
    from convsmith.draw import cost_areas
    from convsmith.draw import separable as draw_separable

    lengths, axes = _lengths(
        size, named_axes(dims, size, kernel, stride, dilation, padding=padding)
    )
    ins, outs = parse_channels(channels, 1)
    layer: Any = build_layer(
        axes, kernel, stride, padding, dilation, ins, outs, 1, "zeros", False, "0", None, False
    )
    if areas:
        scene = cost_areas(layer, language=language, theme=theme)
    else:
        given = _arrays(values, None, lengths, ins)
        scene = draw_separable(
            layer, lengths, values=given["values"], language=language, theme=theme
        )
    deliver(scene, output, strip=strip, force=force)


@app.command("mixing")
def mixing(
    channels: Annotated[int, typer.Option(help="In and out, at most 8.")] = 4,
    groups: Annotated[int, typer.Option(help="Of the grouped one.")] = 2,
    kernel: Kernel = "3x3",
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw which channels mix: dense, grouped and depthwise in one row."""
    check_targets(output, force=force)
    from convsmith.draw import mixing as draw_mixing

    scene = draw_mixing(
        channels, groups, parse_size("--kernel", kernel), language=language, theme=theme
    )
    deliver(scene, output, strip=strip, force=force)


def _lengths(size: str, named: int | None) -> tuple[int | tuple[int, ...], int]:
    lengths = parse_size("--in", size)
    axes = named or 2
    if axes > 2:
        raise ArgumentError(f"--in {size!r} has {axes} axes, and one or two can be drawn")
    return lengths, axes


def _arrays(
    values: str | None, weight: str | None, lengths: int | tuple[int, ...], ins: int
) -> dict[str, Any]:
    from convsmith.cli.drawn import read_values, read_weight

    wanted = (lengths, lengths) if isinstance(lengths, int) else lengths
    return {
        "values": None if values is None else read_values(values, wanted, ins),
        "weight": None if weight is None else read_weight(weight),
    }
