"""`--input`: what a model is called with, one tensor each time it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convsmith.errors import ArgumentError
from convsmith.text import read_shape

__all__ = ["INPUT", "read_inputs"]

INPUT = (
    "Input shape, such as 1,3,224,224; repeat for several inputs. Name one that has a name, and "
    "say its type unless it is the model's: ids=1,16:int64. Parts of lists and dicts are named "
    "0.0=…, 0.1=… and batch.image=…"
)


def read_inputs(texts: Sequence[str], option: str = "--input") -> Any:
    """Read an example, as `inspect` takes it, from what was given to an option.

    Args:
        texts: one per tensor, `[NAME=]LENGTHS[:TYPE]`. A name is that of a keyword, or a position,
            followed by keys or positions within it, with points between them.
        option: its name, for messages.

    Returns:
        A list of inputs, or a dict by name; None without texts.

    Raises:
        ArgumentError: for a shape that is none, for names beside positions, for one name twice.

    >>> read_inputs(["1,3,224,224"])
    [(1, 3, 224, 224)]
    >>> read_inputs(["x=1,3,8,8", "ids=1,16:int64"])
    {'x': (1, 3, 8, 8), 'ids': ((1, 16), 'int64')}
    >>> read_inputs(["0.0=3,60,80", "0.1=3,50,90"])
    [[(3, 60, 80), (3, 50, 90)]]
    """
    if not texts:
        return None
    named = ["=" in text for text in texts]
    if not any(named):
        return [_leaf(text, text, option) for text in texts]
    if not all(named):
        text = texts[named.index(False)]
        raise ArgumentError(f"{option} {text!r} has no name: name every input, or none")
    tree: dict[str, Any] = {}
    for text in texts:
        name, _, shape = text.partition("=")
        *outer, last = name.split(".")
        place = tree
        for key in outer:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ArgumentError(f"{option} {text!r}: {key!r} is a tensor already")
        if not all((*outer, last)) or last in place:
            why = "is there twice" if last in place else "is not a name"
            raise ArgumentError(f"{option} {text!r}: {name!r} {why}")
        place[last] = _leaf(shape, text, option)
    return _listed(tree, option)


def _leaf(shape: str, text: str, option: str) -> Any:
    lengths, colon, dtype = shape.partition(":")
    if colon and not dtype.isidentifier():
        raise ArgumentError(f"{option} {text!r}: a type has a name, such as int64")
    size = read_shape(lengths, option)
    return (size, dtype) if colon else size


def _listed(tree: Any, option: str) -> Any:
    """Lists in place of dicts whose keys are positions."""
    if not isinstance(tree, dict):
        return tree
    parts = {key: _listed(value, option) for key, value in tree.items()}
    positions = [key for key in parts if key.isdecimal()]
    if not positions:
        return parts
    if sorted(map(int, positions)) != list(range(len(parts))):
        raise ArgumentError(f"{option}: positions count from 0, without gaps: {', '.join(parts)}")
    return [parts[key] for key in sorted(parts, key=int)]
