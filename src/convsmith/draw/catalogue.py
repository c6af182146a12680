"""What the scenes bring along: a scene is one file, and everything about it is found there.

A module of `convsmith.draw.scenes` may hold `WORDS` (its texts in both languages), `EXAMPLES` (its
entries in the gallery) and `COMMANDS` (what `convsmith draw` can do with it). They are collected
here, in the order of the files' names, so that nothing else has to list the scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from convsmith.draw import scenes
from convsmith.draw.command import Command
from convsmith.draw.example import SECTIONS, Example
from convsmith.draw.words import add_words
from convsmith.errors import ArgumentError

__all__ = ["Catalogue", "catalogue"]


@dataclass(frozen=True)
class Catalogue:
    """All scenes.

    Attributes:
        modules: the files, by name.
        examples: the pictures of the gallery, section by section.
        commands: what `convsmith draw` can draw, by name.
    """

    modules: tuple[ModuleType, ...]
    examples: tuple[Example, ...]
    commands: dict[str, Command]

    def function(self, name: str) -> Any:
        """The public function of that name, from whichever scene has it; None without one."""
        for module in self.modules:
            if name == module.__name__.rpartition(".")[2] and name in module.__all__:
                return getattr(module, name)
        return None


def catalogue() -> Catalogue:
    """Collect the scenes.

    Raises:
        ArgumentError: two scenes with the same text, picture or command.

    >>> list(catalogue().commands)[:3]
    ['cone', 'conv', 'matrix']
    """
    names = sorted(module.name for module in iter_modules(scenes.__path__))
    modules = tuple(import_module(f"{scenes.__name__}.{name}") for name in names)
    examples: list[Example] = []
    commands: dict[str, Command] = {}
    for module in modules:
        add_words(getattr(module, "WORDS", {}))
        examples += getattr(module, "EXAMPLES", ())
        for command in getattr(module, "COMMANDS", ()):
            if commands.setdefault(command.name, command) is not command:
                raise ArgumentError(f"two scenes have a command {command.name!r}")
    files = [example.file for example in examples]
    if twice := {file for file in files if files.count(file) > 1}:
        raise ArgumentError(f"two pictures of the gallery are named {min(twice)!r}")
    sections = list(SECTIONS)
    ordered = sorted(examples, key=lambda each: (sections.index(each.section), each.order))
    return Catalogue(modules, tuple(ordered), dict(sorted(commands.items())))
