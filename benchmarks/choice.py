"""The cells of a benchmark that a word picks: never none of them, which would reach every goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from convsmith.errors import ArgumentError, nearest

__all__ = ["chosen"]

T = TypeVar("T")


def chosen(cells: Mapping[str, T], word: str) -> dict[str, T]:
    """The cells with a word in their name, in order.

    Raises:
        ArgumentError: if none has, naming those there are.
    """
    found = {name: cell for name, cell in cells.items() if word in name}
    if not found:
        names = ", ".join(cells)
        raise ArgumentError(f"--only {word!r} is in no cell's name{nearest(word, cells)}: {names}")
    return found
