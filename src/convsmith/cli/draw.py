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
    from collections.abc import Sequence

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
    "named_axes",
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
    image = None
    if values is not None:
        wanted = (lengths,) * 2 if isinstance(lengths, int) else lengths
        image = read_values(values, wanted, ins)
    kernels = None if weight is None else read_weight(weight)
    named = named_axes(
        dims, size, kernel, stride, dilation, output_padding, padding=padding,
        arrays=(kernels, image) if ins == outs == 1 else (),
    )  # fmt: skip
    if lengths is None:
        lengths = (7,) * (named or 2) if image is None else _spatial(image, ins, named)
    axes = named or (2 if isinstance(lengths, int) else len(lengths))
    layer = build_layer(
        axes, kernel, stride, padding, dilation, ins, outs, groups, padding_mode,
        transposed, output_padding, pool, ceil,
    )  # fmt: skip
    if pool is not None and image is None and ins > 1:
        from convsmith.draw.scenes.values import default_image

        each = (lengths,) * axes if isinstance(lengths, int) else lengths
        image = default_image((ins, *each))
    scene = animate(
        layer,
        lengths,
        values=image,
        weight=kernels,
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
    try:
        numbers = tuple(int(part) for part in _parts(text))
    except ValueError:
        raise ArgumentError(f"{name} {text!r} is not a size: expected, say, 3 or 3x2") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _parts(text: str) -> list[str]:
    return text.lower().replace("×", "x").replace(",", "x").split("x")


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
    for part in _parts(text):
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


def named_axes(
    dims: int | None, *sizes: str | None, padding: str = "0", arrays: Sequence[Any] = ()
) -> int | None:
    """How many axes the options speak of: `--dims`, else as many as the first that lists them.

    A size of one number stands for every axis and lists none; a padding of one low:high is that
    of one axis. So are a single row of `--values` or `--weight`.

    >>> named_axes(None, "8", "3"), named_axes(None, "8", "3x3x3"), named_axes(3, "8")
    (None, 3, 3)
    >>> named_axes(None, "8", padding="4:0"), named_axes(None, "8x8", padding="4:0")
    (1, 2)
    >>> named_axes(None, "5", arrays=[None, [[1, 0, 2]]])
    1
    """
    if dims is not None:
        return dims
    axes = [n for size in sizes if size is not None and (n := len(_parts(size))) > 1]
    if ":" in padding or len(_parts(padding)) > 1:
        axes.append(len(_parts(padding)))
    return next(iter([*axes, *filter(None, map(_rows, arrays))]), None)


def _rows(array: Any) -> int | None:
    """The axes of numbers: one for a single row, two for several, None if there may be channels."""
    if array is None:
        return None
    from convsmith.draw.scenes.values import shape_of

    shape = shape_of(array)
    if len(shape) > 2:
        return None
    return 1 if len(shape) < 2 or shape[0] == 1 else 2


def _spatial(image: Any, ins: int, dims: int | None) -> tuple[int, ...]:
    """The spatial size of the reader's values, which may come with an axis of channels."""
    from convsmith.draw.scenes.values import shape_of

    shape = shape_of(image)
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
