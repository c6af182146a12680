"""Layouts: which dimension of a stored array is which, by letters such as `NCYX` or `YXC`."""

from __future__ import annotations

from collections.abc import Sequence

from convsmith.errors import ArgumentError

__all__ = ["SPATIAL", "guess_layout", "parse_layout"]

SPATIAL = {1: "X", 2: "YX", 3: "ZYX"}
"""The letters of the axes of signals, images and volumes."""


def parse_layout(layout: str, shape: Sequence[int], dims: int, what: str) -> str:
    """Check the letters that a user has passed.

    Raises:
        ArgumentError: for letters that do not fit the shape or the network.
    """
    if not isinstance(layout, str):
        raise ArgumentError(f"layout is letters such as 'YXC', not {layout!r}")
    letters = layout.upper()
    expected = f"N, C and {SPATIAL[dims]}, one letter per dimension"
    if len(letters) != len(shape) or len(set(letters)) != len(letters):
        raise ArgumentError(f"layout {layout!r} does not fit {what} of shape {tuple(shape)}: "
                            f"expected {expected}")  # fmt: skip
    if set(letters) - set("NC" + SPATIAL[dims]) or set(SPATIAL[dims]) - set(letters):
        raise ArgumentError(
            f"layout {layout!r} has other axes than the network: expected {expected}"
        )
    return letters


def guess_layout(shape: Sequence[int], dims: int, channels: int, what: str) -> str:
    """The layout of an array by its shape and what the network takes.

    >>> guess_layout((480, 640, 3), 2, 3, "the image")
    'YXC'
    >>> guess_layout((3, 480, 640), 2, 3, "the image")
    'CYX'

    Raises:
        ArgumentError: for a shape that fits none, or two.
    """
    space = SPATIAL[dims]
    candidates = {
        dims: [space] if channels == 1 else [],
        dims + 1: [
            letters
            for letters, place in ((f"C{space}", 0), (f"{space}C", -1))
            if shape and shape[place] == channels
        ],
        dims + 2: [
            letters
            for letters, place in ((f"NC{space}", 1), (f"N{space}C", -1))
            if len(shape) > 1 and shape[place] == channels
        ],
    }.get(len(shape), [])
    if len(candidates) == 1:
        return candidates[0]
    needs = f"the network takes {channels} channels and {dims} axes ({space})"
    if not candidates:
        raise ArgumentError(f"{what} has shape {tuple(shape)}, but {needs}")
    raise ArgumentError(
        f"{what} of shape {tuple(shape)} may be {' or '.join(candidates)}: pass layout=..."
    )
