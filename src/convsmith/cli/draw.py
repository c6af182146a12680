"""`convsmith draw WHAT …`: pictures of convolutions; each kind is a command of its own.

`app` is the verb; further kinds are added to it from files beside this one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convsmith.cli.output import Force, check_targets, talk
from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.arithmetic import Conv, ConvTranspose, Pool
    from convsmith.draw import Scene

__all__ = [
    "Language",
    "Output",
    "Strip",
    "Theme",
    "app",
    "build_layer",
    "command",
    "conv",
    "deliver",
    "parse_channels",
    "parse_size",
]

Output = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="FILE", help=".svg, .gif, .mp4, .png or .html; without "
                 "it, SVG goes to standard output."),
]  # fmt: skip
Language = Annotated[str, typer.Option(help="en or zh.")]
Theme = Annotated[str, typer.Option(help="auto, light or dark.")]
Strip = Annotated[
    bool, typer.Option("--strip", help="All steps as one still, the last first (.svg, .png).")
]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

command = app


@app.callback()
def draw() -> None:
    """Draw convolutions step by step, as SVG, GIF, MP4, PNG or a page."""


@app.command("conv")
def conv(
    size: Annotated[
        str | None, typer.Option("--in", metavar="ROWSxCOLUMNS", help="The input, such as 7x7.")
    ] = None,
    kernel: Annotated[str, typer.Option(metavar="SIZE", help="Such as 3, or 3x2.")] = "3",
    stride: Annotated[
        str | None, typer.Option(metavar="SIZE", help="1; a pool's: its kernel.")
    ] = None,
    padding: Annotated[
        str, typer.Option(metavar="SIZE", help="1, 1x2, 0:1x2:3 (low:high), same or valid.")
    ] = "0",
    dilation: Annotated[str, typer.Option(metavar="SIZE", help="Distance between taps.")] = "1",
    groups: Annotated[int, typer.Option(help="Parts of the channels that never mix.")] = 1,
    channels: Annotated[
        str | None, typer.Option(metavar="IN:OUT", help="1:1; with --groups, as many as these.")
    ] = None,
    dims: Annotated[int | None, typer.Option(help="1, 2 or 3 axes; else as --in has.")] = None,
    padding_mode: Annotated[
        str, typer.Option(help="zeros, reflect, replicate or circular.")
    ] = "zeros",
    transposed: Annotated[bool, typer.Option("--transposed", help="Transposed.")] = False,
    output_padding: Annotated[
        str, typer.Option(metavar="SIZE", help="With --transposed: positions added at the end.")
    ] = "0",
    view: Annotated[
        str | None, typer.Option(help="With --transposed: scatter, zeros or matrix.")
    ] = None,
    pool: Annotated[str | None, typer.Option(help="A pool instead: max or average.")] = None,
    ceil: Annotated[bool, typer.Option("--ceil", help="With --pool: round the size up.")] = False,
    values: Annotated[
        str | None, typer.Option(metavar="FILE", help="The input: .csv, .json or an image.")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="FILE", help="The kernel: .csv or .json.")
    ] = None,
    bias: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="One number an output channel.")
    ] = None,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw a convolution, a transposed one or a pool, with its real numbers."""
    check_targets(output, force=force)
    from convsmith.cli.drawn import read_values, read_weight
    from convsmith.draw import animate

    lengths = None if size is None else parse_size("--in", size)
    ins, outs = parse_channels(channels, groups)
    given = None
    if values is not None:
        wanted = (lengths,) * 2 if isinstance(lengths, int) else lengths
        given = read_values(values, wanted, ins)
    if lengths is None:
        lengths = (7, 7) if given is None else _spatial(given, ins, dims, pool)
    axes = dims or (2 if isinstance(lengths, int) else len(lengths))
    layer = build_layer(
        axes, kernel, stride, padding, dilation, ins, outs, groups, padding_mode,
        transposed, output_padding, pool, ceil,
    )  # fmt: skip
    if pool is not None and given is None and ins > 1:
        from convsmith.draw.scenes.values import default_image

        each = (lengths,) * axes if isinstance(lengths, int) else lengths
        given = default_image((ins, *each))
    scene = animate(
        layer,
        lengths,
        values=given,
        weight=None if weight is None else read_weight(weight),
        bias=None if bias is None else _numbers(bias),
        language=language,
        view=view,
        theme=theme,
    )
    deliver(scene, output, strip=strip, force=force)


def deliver(scene: Scene, output: str | None, *, strip: bool = False, force: bool = False) -> None:
    """Save a scene, or write its SVG to standard output where that is no terminal."""
    if output is not None and output != "-":
        scene.save(output, strip=strip, force=force)
        if sys.stderr.isatty():
            talk(f"wrote {output}")
        return
    if output is None and sys.stdout.isatty():
        raise ArgumentError("where to? pass -o FILE (.svg, .gif, .mp4, .png, .html), or -o -")
    sys.stdout.write(scene.svg(strip=strip) + "\n")


def parse_size(name: str, text: str) -> int | tuple[int, ...]:
    """Read a size: one number, or one an axis.

    >>> parse_size("--in", "7"), parse_size("--in", "3x2"), parse_size("--in", "3×2")
    (7, (3, 2), (3, 2))
    """
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        raise ArgumentError(f"{name} {text!r} is not a size: expected, say, 3 or 3x2") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _padding(text: str) -> Any:
    """Read a padding: a word, a size, or low:high for an axis.

    >>> _padding("same"), _padding("1x2"), _padding("0:1x2:3"), _padding("2:0")
    ('same', (1, 2), ((0, 1), (2, 3)), ((2, 0),))
    """
    if text in ("same", "valid"):
        return text
    if ":" not in text:
        return parse_size("--padding", text)
    sides = []
    for part in text.lower().replace("×", "x").replace(",", "x").split("x"):
        try:
            ends = tuple(int(end) for end in part.split(":"))
        except ValueError:
            ends = ()
        if len(ends) not in (1, 2):
            raise ArgumentError(f"invalid --padding {text!r}: expected 1, 1x2, 0:1x2:3 or same")
        sides.append((ends[0], ends[-1]))
    return tuple(sides)


def parse_channels(text: str | None, groups: int) -> tuple[int, int]:
    """Read IN:OUT; one number stands for both.

    >>> (
    ...     parse_channels("3:10", 1),
    ...     parse_channels("3,10", 1),
    ...     parse_channels("4", 2),
    ...     parse_channels(None, 3),
    ... )
    ((3, 10), (3, 10), (4, 4), (3, 3))
    """
    if text is None:
        return groups, groups
    try:
        numbers = [int(part) for part in text.replace(",", ":").split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ArgumentError(f"--channels {text!r}: expected IN:OUT, such as 3:10")
    return numbers[0], numbers[-1]


def build_layer(
    axes: int, kernel: str, stride: str | None, padding: str, dilation: str, ins: int, outs: int,
    groups: int, padding_mode: str, transposed: bool, output_padding: str, pool: str | None,
    ceil: bool,
) -> Conv | ConvTranspose | Pool:  # fmt: skip
    """The layer that options of a drawing name.

    Raises:
        ArgumentError: options that no layer can have together.
    """
    from convsmith.arithmetic import Conv, ConvTranspose, Pool

    window = parse_size("--kernel", kernel)
    step = None if stride is None else parse_size("--stride", stride)
    pads, spacing = _padding(padding), parse_size("--dilation", dilation)
    if isinstance(pads, tuple) and len(pads) == 1:
        pads = pads * axes
    more = parse_size("--output-padding", output_padding)
    if more != 0 and not transposed:
        raise ArgumentError("--output-padding is for --transposed: pass both")
    if pool is not None:
        if transposed or groups != 1:
            raise ArgumentError("a pool is neither transposed nor grouped: leave --pool out")
        if isinstance(pads, str):
            raise ArgumentError(f"a pool's padding is a number, not {pads!r}")
        return Pool(window, step, pads, spacing, ceil, pool, dims=axes)
    if ceil:
        raise ArgumentError("--ceil is for --pool: pass both")
    step = 1 if step is None else step
    if not transposed:
        return Conv(
            ins, outs, window, step, pads, spacing, groups, padding_mode=padding_mode, dims=axes
        )
    if padding_mode != "zeros" or isinstance(pads, str):
        raise ArgumentError("a transposed convolution's padding is a number, and cuts the output")
    return ConvTranspose(ins, outs, window, step, pads, more, groups, True, spacing, axes)


def _spatial(given: Any, ins: int, dims: int | None, pool: str | None) -> tuple[int, ...]:
    """The spatial size of the reader's values, which may come with an axis of channels."""
    from convsmith.draw.scenes.values import shape_of

    shape = shape_of(given)
    axes = dims or (
        len(shape) - 1 if len(shape) > 1 and (ins > 1 or len(shape) > 2) else len(shape)
    )
    if len(shape) not in (axes, axes + 1) or not 1 <= axes <= 3:
        raise ArgumentError(f"--values is shaped {shape}: expected (channels, rows, columns)")
    return shape[len(shape) - axes :]


def _numbers(text: str) -> list[int | float]:
    from convsmith.cli.drawn import number

    return [number(part, "--bias") for part in text.split(",")]


# Last, because they take the options and the app from here; each adds its commands.
from convsmith.cli import draw_layers, draw_network, draw_stacks  # noqa: E402, F401
