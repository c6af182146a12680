"""A scene's command, as plain data: `convsmith draw` turns it into options and a help screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convsmith.draw.live.stage import Stage
from convsmith.draw.scene import Scene

__all__ = ["Command", "Option"]


@dataclass(frozen=True)
class Option:
    """What the command line says of one parameter, within its `Annotated` type.

    Attributes:
        help: one line.
        flags: such as `--in`; by default made from the parameter's name.
        metavar: what stands for the value in the help.
        argument: whether it is given by its place, without a flag.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    argument: bool = False


@dataclass(frozen=True)
class Command:
    """`convsmith draw NAME …`.

    Attributes:
        name: one word.
        build: makes the scene, or the stage. Its parameters are the command's options, each
            annotated with an `Option`; its docstring is the command's help. Output, language,
            theme and the like are added to every command.
    """

    name: str
    build: Callable[..., Scene | Stage]
