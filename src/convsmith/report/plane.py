"""An exact set of positions in the plane, as the few rectangles that it is drawn with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from convsmith.arithmetic import Positions, Region
from convsmith.errors import ArgumentError

__all__ = ["Plane", "Products", "as_region", "runs"]

Products = Region | Iterable[Sequence[Iterable[int]]]
"""A set as products: of each, the positions along every axis; their union is meant."""

Cells = tuple[int, int, int, int]
"""First column, first row, columns, rows."""


def as_region(products: Products) -> Region:
    """The set that products of plain integers make.

    Raises:
        ArgumentError: if it is empty, or not of one to three axes.

    >>> as_region([([0, 2], [0, 1, 2])]).count()
    6
    """
    if isinstance(products, Region):
        region = products
    else:
        region = Region(tuple(map(Positions.of, box)) for box in products)
    if not region:
        raise ArgumentError("there are no positions to draw")
    if len(region.hull) not in (1, 2, 3):
        raise ArgumentError(f"one to three axes can be drawn, not {len(region.hull)}")
    return region


@dataclass(frozen=True)
class Plane:
    """Rows of cells; equal rows that follow one another are one band.

    Attributes:
        bands: first row, number of rows, and the columns that they hold.
    """

    bands: tuple[tuple[int, int, Positions], ...]

    @classmethod
    def of(cls, region: Region) -> Plane:
        """The plane of a set with two axes, rows first; with one axis, its only row is 0.

        >>> one, far = [0], [-2, 0, 2]
        >>> Plane.of(as_region([(one, one), (far, far)])).rects[:2]
        [(-2, -2, 1, 1), (0, -2, 1, 1)]
        """
        boxes = list(region)
        if len(boxes[0]) == 1:
            return cls(((0, 1, region.along(0)),))
        bands: list[tuple[int, int, Positions]] = []
        for row in region.along(0):
            columns = Positions()
            for rows, inside in boxes:
                if row in rows:
                    columns = columns | inside
            first, length, last = bands[-1] if bands else (row, 0, columns)
            if bands and first + length == row and last == columns:
                bands[-1] = (first, length + 1, columns)
            else:
                bands.append((row, 1, columns))
        return cls(tuple(bands))

    @property
    def rects(self) -> list[Cells]:
        """The set as rectangles that do not overlap, from the top left."""
        return [
            (start, row, stop - start, rows)
            for row, rows, columns in self.bands
            for start, stop in runs(columns)
        ]

    def blocks(self, side: int, levels: int) -> list[list[Cells]]:
        """Blocks of `side` × `side` cells by how much of them is in the set: 1 … `levels`.

        The first list holds those of level 1; blocks that hold nothing are left out.
        """
        left = min(columns.start for _, _, columns in self.bands)
        top = self.bands[0][0]
        held: dict[tuple[int, int], int] = {}
        for row, rows, columns in self.bands:
            along = [
                (at, len(columns.clip(left + at * side, left + (at + 1) * side)))
                for at in range((columns.stop - left + side - 1) // side)
            ]
            for down in range((row - top) // side, (row + rows - 1 - top) // side + 1):
                begin, end = top + down * side, top + (down + 1) * side
                inside = min(end, row + rows) - max(begin, row)
                for at, cells in along:
                    held[down, at] = held.get((down, at), 0) + inside * cells
        right = max(columns.stop for _, _, columns in self.bands)
        bottom = self.bands[-1][0] + self.bands[-1][1]
        found: list[list[Cells]] = [[] for _ in range(levels)]
        for (down, at), cells in sorted(held.items()):
            if cells:
                x, y = left + at * side, top + down * side
                wide, high = min(side, right - x), min(side, bottom - y)
                level = ceil(levels * cells / (wide * high))
                found[level - 1].append((x, y, wide, high))
        return found


def runs(positions: Positions) -> list[tuple[int, int]]:
    """First and one past the last of each run of positions."""
    bits = f"{positions.bits:b}"[::-1]
    return [
        (positions.start + run.start(), positions.start + run.end())
        for run in re.finditer("1+", bits)
    ]
