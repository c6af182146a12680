"""`convsmith draw cone`, `gridding`, `gallery`: layers in series, and every picture at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from convsmith.cli.draw import Language, Output, Strip, Theme, app, deliver
from convsmith.cli.output import Force, check_targets, progress, talk
from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from convsmith.arithmetic import Conv, Pool

__all__ = ["cone", "gallery", "gridding", "parse_stack"]

_LAYER = re.compile(r"(max|avg)?(\d+)(?:s(\d+))?(?:d(\d+))?(?:p(\d+))?")
_FORMS = "3 (a convolution), 3s2 (stride), 3d2 (dilation), max2 or avg3s2 (a pool)"


@app.command("cone")
def cone(
    layers: Annotated[
        list[str], typer.Argument(metavar="LAYER…", help=f"First layer first: {_FORMS}.")
    ],
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw what one output value of a stack reads, from map to map."""
    check_targets(output, force=force)
    from convsmith.draw import cone as draw_cone

    scene = draw_cone(parse_stack(layers), language=language, theme=theme)
    deliver(scene, output, strip=strip, force=force)


@app.command("gridding")
def gridding(
    rates: Annotated[str, typer.Argument(metavar="RATES", help="Dilations, such as 2,2,2.")],
    kernel: Annotated[int, typer.Option(help="Taps of each layer.")] = 3,
    repair: Annotated[
        bool, typer.Option("--repair", help="Also rates of equal width without holes.")
    ] = False,
    beside: Annotated[
        str | None, typer.Option(metavar="RATES", help="Also these rates, such as 1,2,3.")
    ] = None,
    output: Output = None,
    language: Language = "en",
    theme: Theme = "auto",
    strip: Strip = False,
    force: Force = False,
) -> None:
    """Draw in how many ways dilated layers read each pixel, and the holes."""
    check_targets(output, force=force)
    from convsmith.draw import paths

    given = _rates("RATES", rates)
    other = None if beside is None else _rates("--beside", beside)
    if repair and other is None:
        from convsmith.measure.holes import gridding as judge

        found = judge(given, kernel)
        if found.largest_gap and found.repair is None:
            raise ArgumentError(f"no {len(given)} rates of this width leave no hole: {rates}")
        other = list(found.repair) if found.repair else None
    scene = paths(given, kernel, repair=other, language=language, theme=theme)
    deliver(scene, output, strip=strip, force=force)


@app.command("gallery")
def gallery(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where to.")],
    language: Language = "en",
    theme: Theme = "auto",
    force: Force = False,
) -> None:
    """Make every kind of picture, and a page that shows them."""
    from convsmith.draw.gallery import gallery as make
    from convsmith.draw.gallery_pictures import PICTURES

    with progress("drawing", len(PICTURES)) as advance:
        made = make(folder, language=language, theme=theme, force=force, advance=advance)
    talk(f"wrote {len(made) - 1} pictures and {made[-1]}")


def parse_stack(layers: list[str]) -> list[Conv | Pool]:
    """Read layers as people write them.

    >>> parse_stack(["3", "3s2d2", "max2"])
    [Conv(1, 1, kernel_size=3), Conv(1, 1, kernel_size=3, stride=2, dilation=2), Pool(...)]
    """
    from convsmith.arithmetic import Conv, Pool

    stack: list[Conv | Pool] = []
    for word in (part for text in layers for part in text.split(",") if part):
        found = _LAYER.fullmatch(word.strip())
        if found is None:
            raise ArgumentError(f"{word!r} is not a layer: expected {_FORMS}")
        kind, kernel, stride, dilation, padding = found.groups()
        taps, spacing, pads = int(kernel), int(dilation or 1), int(padding or 0)
        if kind:
            name = "max" if kind == "max" else "average"
            step = int(stride) if stride else None
            stack.append(Pool(taps, step, pads, spacing, kind=name))
        else:
            stack.append(Conv(1, 1, taps, int(stride or 1), pads, spacing))
    return stack


def _rates(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"{name} {text!r}: expected rates such as 2,2,2") from None
