"""What the options of a drawing mean: sizes, paddings, channels and layers from text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.draw.command import Option
from convsmith.draw.scenes.values import shape_of
from convsmith.errors import ArgumentError

__all__ = [
    "Channels",
    "Dilation",
    "Dims",
    "Groups",
    "Input",
    "Kernel",
    "OutputPadding",
    "Padding",
    "PaddingMode",
    "Stride",
    "Transposed",
    "Values",
    "Weight",
    "build_layer",
    "check_drawable",
    "named_axes",
    "parse_channels",
    "parse_padding",
    "parse_rates",
    "parse_size",
    "planar",
]

Input = Annotated[str, Option("Size of the input, such as 4x4.", ("--in",), "ROWSxCOLUMNS")]
Kernel = Annotated[str, Option("Size of the kernel, such as 3 or 3x2.", metavar="SIZE")]
Stride = Annotated[str, Option("Step of the window.", metavar="SIZE")]
Padding = Annotated[
    str,
    Option(
        "same, valid, or sizes: 1, 1x2, or low:high pairs per axis, such as 0:1x2:3.",
        metavar="SIZE",
    ),
]
Dilation = Annotated[str, Option("Distance between the taps.", metavar="SIZE")]
Groups = Annotated[int, Option("Number of groups; channels of different groups never mix.")]
Channels = Annotated[str | None, Option("Channels in and out, such as 3:10.", metavar="IN:OUT")]
Dims = Annotated[int | None, Option("1 or 2 axes; by default as many as the sizes have.")]
PaddingMode = Annotated[str, Option("zeros, reflect, replicate or circular.")]
Transposed = Annotated[bool, Option("Draw a transposed convolution.")]
OutputPadding = Annotated[
    str, Option("With --transposed: positions added at the end.", metavar="SIZE")
]
Values = Annotated[str | None, Option("Input values: .csv, .json or an image.", metavar="FILE")]
Weight = Annotated[str | None, Option("Kernel values: .csv or .json.", metavar="FILE")]

_SIZES = "expected, say, 3 or 3x2"
_PADDINGS = "expected same, valid, or a size such as 1, 1x2 or 0:1x2:3"


def parse_size(name: str, text: str, expected: str = _SIZES) -> int | tuple[int, ...]:
    """Read a size: one number for every axis, or one per axis.

    >>> parse_size("--in", "7"), parse_size("--in", "3x2"), parse_size("--in", "3×2")
    (7, (3, 2), (3, 2))
    """
    try:
        numbers = tuple(int(part) for part in _parts(text))
    except ValueError:
        raise ArgumentError(f"{name} {text!r} is not a size: {expected}") from None
    check_drawable(f"{name} {text!r}", numbers)
    return numbers[0] if len(numbers) == 1 else numbers


def check_drawable(written: str, numbers: Sequence[int], most: int = 4096) -> None:
    """Refuse what could never be seen, and would take all memory to lay out."""
    if len(numbers) > 3 or any(abs(number) > most for number in numbers):
        raise ArgumentError(
            f"{written[:60]} is too large to draw: at most 3 axes, no number above {most}"
        )


def parse_padding(text: str) -> Any:
    """Read a padding: a word, a size, or low:high for an axis.

    >>> parse_padding("same"), parse_padding("1x2"), parse_padding("0:1x2:3"), parse_padding("2:0")
    ('same', (1, 2), ((0, 1), (2, 3)), ((2, 0),))
    """
    if text in ("same", "valid"):
        return text
    if ":" not in text:
        return parse_size("--padding", text, _PADDINGS)
    sides = []
    for part in _parts(text):
        try:
            ends = tuple(int(end) for end in part.split(":"))
        except ValueError:
            ends = ()
        if len(ends) not in (1, 2):
            raise ArgumentError(f"invalid --padding {text!r}: {_PADDINGS}")
        check_drawable(f"--padding {text!r}", ends)
        sides.append((ends[0], ends[-1]))
    return tuple(sides)


def parse_channels(text: str | None, groups: int) -> tuple[int, int]:
    """Read IN:OUT; one number stands for both, and without any there is a channel per group.

    >>> parse_channels("3:10", 1), parse_channels("4", 2), parse_channels(None, 3)
    ((3, 10), (4, 4), (3, 3))
    """
    if text is None:
        return groups, groups
    try:
        numbers = [int(part) for part in text.replace(",", ":").split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ArgumentError(f"--channels {text!r}: expected IN:OUT, such as 3:10")
    check_drawable(f"--channels {text!r}", numbers)
    return numbers[0], numbers[-1]


def parse_rates(name: str, text: str) -> list[int]:
    """Read dilations with commas between.

    >>> parse_rates("RATES", "1,2,3")
    [1, 2, 3]
    """
    try:
        rates = [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"{name} {text!r}: expected rates such as 2,2,2") from None
    for rate in rates:
        check_drawable(f"{name} {text!r}", [rate])
    return rates


def named_axes(
    dims: int | None, *sizes: str | None, padding: str = "0", arrays: Sequence[Any] = ()
) -> int | None:
    """How many axes the options speak of: `--dims`, else as many as the first that lists them.

    A size of one number stands for every axis and lists none; a padding of one low:high is that
    of one axis. A single row of numbers is one axis, too.

    Args:
        dims: what `--dims` says.
        sizes: the sizes as they were written.
        padding: as it was written.
        arrays: numbers of one channel, None where there are none.

    >>> named_axes(None, "8", "3"), named_axes(None, "8", "3x3x3"), named_axes(3, "8")
    (None, 3, 3)
    >>> named_axes(None, "8", padding="4:0"), named_axes(None, "8x8", padding="4:0")
    (1, 2)
    >>> named_axes(None, "5", arrays=[None, [[1, 0, 2]]])
    1
    """
    if dims is not None:
        if dims not in (1, 2, 3):
            raise ArgumentError(f"--dims must be 1, 2 or 3, not {dims}")
        return dims
    axes = [n for size in sizes if size is not None and (n := len(_parts(size))) > 1]
    if ":" in padding or len(_parts(padding)) > 1:
        axes.append(len(_parts(padding)))
    return next(iter([*axes, *filter(None, map(_rows, arrays))]), None)


def build_layer(
    axes: int,
    kernel: str,
    stride: str | None = None,
    padding: str = "0",
    dilation: str = "1",
    channels: tuple[int, int] = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
    *,
    transposed: bool = False,
    output_padding: str = "0",
    pool: str | None = None,
    ceil: bool = False,
    bias: bool = True,
) -> Conv | ConvTranspose | Pool:
    """The layer that the options of a drawing describe, each as it was written.

    Raises:
        ArgumentError: options that no layer can have together.
    """
    window = parse_size("--kernel", kernel)
    step = None if stride is None else parse_size("--stride", stride)
    pads, spacing = parse_padding(padding), parse_size("--dilation", dilation)
    if isinstance(pads, tuple) and len(pads) == 1:
        pads = pads * axes
    extra = parse_size("--output-padding", output_padding)
    if extra != 0 and not transposed:
        raise ArgumentError("--output-padding is for --transposed: pass both")
    if pool is not None:
        if transposed or groups != 1:
            raise ArgumentError("--pool cannot be combined with --transposed or --groups")
        if isinstance(pads, str):
            raise ArgumentError(f"a pool's padding is a number, not {pads!r}")
        return Pool(window, step, pads, spacing, ceil, pool, dims=axes)
    if ceil:
        raise ArgumentError("--ceil is for --pool: pass both")
    ins, outs = channels
    step = 1 if step is None else step
    if not transposed:
        return Conv(ins, outs, window, step, pads, spacing, groups, bias, padding_mode, axes)
    if padding_mode != "zeros" or isinstance(pads, str):
        raise ArgumentError("a transposed convolution's padding is a number, and cuts the output")
    return ConvTranspose(ins, outs, window, step, pads, extra, groups, bias, spacing, axes)


def planar(size: str, axes: int | None) -> tuple[int | tuple[int, ...], int]:
    """The size of an input of one or two axes, and how many it has.

    Raises:
        ArgumentError: three axes, which many scenes cannot show.
    """
    count = axes or 2
    if count > 2:
        raise ArgumentError(f"--in {size!r} has {count} axes, and one or two can be drawn")
    return parse_size("--in", size), count


def _parts(text: str) -> list[str]:
    return text.lower().replace("×", "x").replace(",", "x").split("x")


def _rows(array: Any) -> int | None:
    """The axes of numbers: one for a single row, two for several, None if there may be channels."""
    if array is None:
        return None
    shape = shape_of(array)
    if len(shape) > 2:
        return None
    return 1 if len(shape) < 2 or shape[0] == 1 else 2
