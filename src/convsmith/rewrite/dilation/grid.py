"""Where the positions of a result lie: how far apart, and how much finer than before."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

__all__ = ["NOWHERE", "Grid", "Grids", "NotEquivalent", "fixed", "like", "of_image", "rates_of"]

NOWHERE = Fraction(0)
"""The stride along a dimension that does not belong to the image."""


class Grid(NamedTuple):
    """Where the positions along one dimension of a result lie.

    Attributes:
        stride: how far the image moved, in the old network, with one position; 0 for a dimension
            that does not run along the image.
        rate: positions of the new result for one of the old.
        length: positions of the new result.
    """

    stride: Fraction
    rate: int
    length: int

    @property
    def excess(self) -> int:
        """New positions after the last old one."""
        return (self.length - 1) % self.rate


Grids = tuple[Grid, ...]
"""The grids of a result, one per dimension."""


class NotEquivalent(Exception):
    """Raised when new[::r] == old cannot be guaranteed after a layer.

    Attributes:
        reason: why, in a few words.
        grids: those of its results, when they are known all the same; else None.
    """

    def __init__(self, reason: str, grids: Grids | None = None) -> None:
        super().__init__(reason)
        self.reason, self.grids = reason, grids


def of_image(shape: Sequence[int]) -> Grids:
    """The grids of an input: any of its dimensions may be one of the image.

    Channels may come last, and an image may come without a batch; the first layer with weights
    leaves those that are none behind.
    """
    one = Fraction(1) if len(shape) > 2 else NOWHERE
    return tuple(Grid(one, 1, n) for n in shape)


def fixed(shape: Sequence[int]) -> Grids:
    """Grids for dimensions that do not belong to the image."""
    return tuple(Grid(NOWHERE, 1, n) for n in shape)


def like(grids: Grids, shape: Sequence[int]) -> Grids:
    """Grids of a result with other lengths along dimensions outside the image."""
    if len(grids) != len(shape):
        return fixed(shape)
    return tuple(
        grid if grid.stride or grid.rate > 1 else grid._replace(length=n)
        for grid, n in zip(grids, shape, strict=True)
    )


def rates_of(grids: Sequence[Grid]) -> str:
    """Their rates in words."""
    rates = sorted({grid.rate for grid in grids if grid.rate > 1})
    return " and ".join(map(str, rates)) or "1"
