"""Classes and functions that the lines define, and how their parameters get values."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from convsmith.explore.script.values import Refusal

__all__ = ["Bound", "Class", "Defined", "Object", "bind"]


@dataclass(eq=False)
class Defined:
    """A function, and the names where it was defined."""

    node: ast.FunctionDef
    names: dict[str, Any]


@dataclass(eq=False)
class Class:
    """A class: its functions by name."""

    name: str
    methods: dict[str, Defined]


@dataclass(eq=False)
class Object:
    """What a class makes: its attributes."""

    of: Class
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Bound:
    """A function of an object."""

    owner: Object
    method: Defined


def bind(
    node: ast.FunctionDef, args: list[Any], more: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, ast.expr]]:
    """The parameters that a call gives, and the defaults of those that it leaves out.

    Raises:
        Refusal: one is missing, unknown or too many.
    """
    given, name = node.args, node.name
    if given.vararg or given.kwarg or given.posonlyargs:
        raise Refusal("code unread", what="*args")
    words = [arg.arg for arg in given.args]
    if len(args) > len(words):
        raise Refusal("code many", name=name, most=len(words), given=len(args))
    bound = dict(zip(words, args, strict=False))
    every = [*words, *(arg.arg for arg in given.kwonlyargs)]
    for word, value in more.items():
        if word not in every or word in bound:
            raise Refusal("code unexpected", name=name, word=word, words=", ".join(every))
        bound[word] = value
    usual = dict(zip(words[len(words) - len(given.defaults) :], given.defaults, strict=True))
    usual |= {a.arg: d for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d}
    missing = [word for word in every if word not in bound]
    for word in missing:
        if word not in usual:
            raise Refusal("code missing", name=name, word=word)
    return bound, {word: usual[word] for word in missing}
