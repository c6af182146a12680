"""`convsmith draw WHAT …`: pictures of convolutions; each kind is a command of its own.

Most commands belong to a scene and are found there, as plain data (`convsmith.draw.catalogue`);
here they get their options, their help and a file to write to. Beside them stand those that need
more than a drawing: a network of the user's, a judgement on holes, the whole gallery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from convsmith.cli.draw_gridding import gridding
from convsmith.cli.draw_network import field, layer
from convsmith.cli.draw_stage import stage
from convsmith.cli.output import Force, check_targets, progress, talk
from convsmith.draw.catalogue import catalogue
from convsmith.draw.command import Command, Option
from convsmith.draw.live.stage import Stage
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.errors import ArgumentError

__all__ = ["app", "command", "deliver", "with_options"]

Language = Annotated[str, typer.Option(help="en or zh.")]
Theme = Annotated[str, typer.Option(help="auto, light or dark.")]
_EVERY = {
    "output": (
        Annotated[
            str | None,
            typer.Option("-o", "--output", metavar="FILE", help=".svg, .gif, .mp4, .png or "
                         ".html; without it, SVG (a stage: HTML) goes to standard output."),
        ],
        None,
    ),
    "language": (Language, "en"),
    "theme": (Theme, "auto"),
    "strip": (
        Annotated[
            bool,
            typer.Option(
                "--strip", help="All steps in one still image, last step first (.svg, .png)."
            ),
        ],
        False,
    ),
    "force": (Force, False),
}  # fmt: skip

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

command = app


@app.callback()
def draw() -> None:
    """Draw convolutions step by step, as SVG, GIF, MP4, PNG or a page."""


def with_options(build: Callable[..., Scene | Stage]) -> Callable[..., None]:
    """What typer runs for a command: its own options, those of every drawing, and the file.

    Args:
        build: its parameters are annotated with `convsmith.draw.command.Option`.
    """
    hints = get_type_hints(build, include_extras=True)
    parameters = [
        each.replace(annotation=_annotation(each.name, hints[each.name]))
        for each in signature(build).parameters.values()
    ]
    parameters += [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, (annotation, default) in _EVERY.items()
    ]

    def run(
        *, output: str | None, language: str, theme: str, strip: bool, force: bool, **words: Any
    ) -> None:
        check_targets(output, force=force)
        check_dress(language, theme)
        deliver(dressed(build(**words), language, theme), output, strip=strip, force=force)

    run.__doc__ = build.__doc__
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _annotation(name: str, hint: Any) -> Any:
    """The same type with typer's description of the option."""
    if get_origin(hint) is not Annotated:
        raise TypeError(f"parameter {name!r} of a command needs an Option in its annotation")
    kind, option = get_args(hint)
    assert isinstance(option, Option)
    if option.argument:
        described = typer.Argument(metavar=option.metavar, help=option.help)
    else:
        # A switch is only ever turned on.
        flags = option.flags or ((f"--{name.replace('_', '-')}",) if kind is bool else ())
        described = typer.Option(*flags, metavar=option.metavar, help=option.help)
    return Annotated[kind, described]


def deliver(
    scene: Scene | Stage, output: str | None, *, strip: bool = False, force: bool = False
) -> None:
    """Save a scene, or write it to standard output where that is not a terminal.

    A scene is written there as SVG, a stage as its page.
    """
    if output is not None and output != "-":
        scene.save(output, strip=strip, force=force)
        talk(f"wrote {output}")
        return
    if output is None and sys.stdout.isatty():
        raise ArgumentError("where to? pass -o FILE (.svg, .gif, .mp4, .png, .html), or -o -")
    if isinstance(scene, Stage):
        scene.check_format("-.html", strip=strip)
        sys.stdout.write(scene.html())
    else:
        sys.stdout.write(scene.svg(strip=strip) + "\n")


def gallery(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder to write to.")],
    language: Language = "en",
    theme: Theme = "auto",
    force: Force = False,
) -> None:
    """Draw every kind of picture, and a page that shows them."""
    from convsmith.draw.gallery import gallery as draw_all

    with progress("drawing", len(catalogue().examples)) as advance:
        paths = draw_all(folder, language=language, theme=theme, force=force, advance=advance)
    talk(f"wrote {len(paths) - 1} pictures and {paths[-1]}")


_OWN = [
    Command("gridding", gridding),
    Command("layer", layer),
    Command("field", field),
    Command("stage", stage),  # in place of the one that knows no networks
]
for _each in (catalogue().commands | {each.name: each for each in _OWN}).values():
    app.command(_each.name)(with_options(_each.build))
app.command("gallery")(gallery)
