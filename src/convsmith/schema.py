"""What plain data from a file must look like; a mistake is one line that says where it is.

A rule takes a value and its place, and raises; rules for lists and objects are made of others.

>>> rule = entries({"rank": integer(1, 8)}, optional={"bias": several(boolean)})
>>> rule({"rank": 3, "bias": [True]}, "layers.conv1")
>>> rule({"rank": "3"}, "layers.conv1")
Traceback (most recent call last):
convsmith.errors.ArgumentError: layers.conv1.rank is '3', expected an integer from 1 to 8
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from convsmith.errors import ArgumentError, nearest

__all__ = [
    "Rule",
    "anything",
    "boolean",
    "choice",
    "either",
    "entries",
    "integer",
    "mapping",
    "number",
    "several",
    "text",
]

Rule = Callable[[Any, str], None]

# Of a wrong value, so much is shown.
_SHOWN = 40


def refuse(value: Any, place: str, expected: str) -> ArgumentError:
    """The error for a value that does not fit, which is shown in part if it is long."""
    try:
        shown = repr(value)
    except (RecursionError, ValueError):  # nested deeply, or an integer of many digits
        shown = f"a {type(value).__name__}"
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return ArgumentError(f"{place} is {shown}, expected {expected}")


def anything(value: Any, place: str) -> None:
    """Take every value."""


def boolean(value: Any, place: str) -> None:
    """Take true and false."""
    if not isinstance(value, bool):
        raise refuse(value, place, "true or false")


def integer(low: int, high: int) -> Rule:
    """Take integers within bounds, both included."""

    def rule(value: Any, place: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise refuse(value, place, f"an integer from {low} to {high}")

    return rule


def number(value: Any, place: str) -> None:
    """Take finite numbers."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise refuse(value, place, "a number")


def text(value: Any, place: str) -> None:
    """Take every text that can be written down: not one with half a surrogate pair."""
    if not isinstance(value, str):
        raise refuse(value, place, "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refuse(value, place, "a text in Unicode") from None


def choice(*known: Any) -> Rule:
    """Take one of a few values."""
    listed = " or ".join(map(repr, known)) if len(known) < 6 else "one of those that are known"

    def rule(value: Any, place: str) -> None:
        # True and 1 are equal, but a file that says one does not mean the other.
        if not any(type(value) is type(each) and value == each for each in known):
            hint = nearest(value, known) if isinstance(value, str) else ""
            raise refuse(value, place, f"{listed}{hint}")

    return rule


def either(*rules: Rule) -> Rule:
    """Take what one of several rules takes; the last one says what was expected."""

    def rule(value: Any, place: str) -> None:
        for each in rules[:-1]:
            try:
                return each(value, place)
            except ArgumentError:
                continue
        return rules[-1](value, place)

    return rule


def several(rule: Rule, low: int = 0, high: int = 64) -> Rule:
    """Take lists of so many values, each by the same rule."""

    def rule_of_list(value: Any, place: str) -> None:
        if not isinstance(value, (list, tuple)) or not low <= len(value) <= high:
            raise refuse(value, place, f"a list of {low} to {high} values")
        for index, item in enumerate(value):
            rule(item, f"{place}[{index}]")

    return rule_of_list


def mapping(rule: Rule) -> Rule:
    """Take objects with any names, whose values follow one rule."""

    def rule_of_object(value: Any, place: str) -> None:
        _object(value, place)
        for name, item in value.items():
            text(name, f"a name in {place}")
            rule(item, f"{place}.{_name(name)}" if place else _name(name))

    return rule_of_object


def entries(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """Take objects with known names: those that are required, and perhaps the optional ones."""
    known = {**required, **(optional or {})}

    def rule(value: Any, place: str) -> None:
        _object(value, place)
        inside = f"{place}." if place else ""
        for name in required:
            if name not in value:
                raise ArgumentError(f"{inside}{name} is missing")
        for name, item in value.items():
            if name not in known:
                hint = nearest(name, known)
                raise ArgumentError(f"{inside}{_name(name)} is not an entry that is known{hint}")
            known[name](item, f"{inside}{name}")

    return rule


def _name(name: str) -> str:
    """A name for a message: of one line, and not too long."""
    shown = name if name.isprintable() else repr(name)[1:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise refuse(value, place or "the file", "an object")
