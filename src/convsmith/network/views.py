"""What a layer sees of the image: products of tables, one period of positions an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import or_
from typing import Any

from convsmith.arithmetic import Positions, Region
from convsmith.arithmetic.region import joined_by, outermost

__all__ = ["Table", "Term", "View", "fewest", "union"]

Table = tuple[Positions, ...]
"""What positions 0, 1, … of one period see along one axis of the image."""


@dataclass(frozen=True, slots=True)
class Term:
    """One product of tables: position i of some channels sees the product of their entries i.

    Position i + k·(length of a table) sees entry i moved by k·length·stride pixels.
    """

    channels: Positions
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What a layer sees on a map without borders, layers that join a whole axis left out.

    Attributes:
        terms: their union is what is seen of the (first) image; none behind a global layer.
        globals: numbers in the network of the layers that were left out, last first.
        guessed: numbers of layers without a rule, which were taken to read everything.
    """

    terms: tuple[Term, ...] = ()
    globals: tuple[int, ...] = ()
    guessed: tuple[int, ...] = ()

    @property
    def periods(self) -> tuple[int, ...]:
        """The length of the tables of each axis."""
        return tuple(map(len, self.terms[0].tables)) if self.terms else ()

    def region(self, index: Sequence[int]) -> Region:
        """What all channels of one position see; the position lies within the first period."""
        return Region(
            tuple(table[i] for table, i in zip(term.tables, index, strict=True))
            for term in self.terms
        )


@lru_cache(maxsize=1 << 14)
def union(table: Table, positions: Positions, moved: int) -> Positions:
    """What a set of positions sees, from a table whose entries move by `moved` a period."""
    total = Positions()
    for phase, entry in enumerate(table):
        periods = positions.shift(-phase).divide(len(table))
        if not periods or not moved:
            total |= entry if periods else periods
        elif len(periods) == periods.span:
            total |= entry.spread(len(periods), moved).shift(periods.start * moved)
        else:
            total |= entry.plus(periods.scale(moved))
    return total


def fewest(terms: list[Term]) -> list[Term]:
    """The same union in fewer terms: those that differ once joined, those inside others dropped."""
    seeing = [(t.channels, *t.tables) for t in terms if all(map(any, t.tables))]
    found = [Term(channels, tuple(tables)) for channels, *tables in joined_by(_either, seeing)]
    return [found[i] for i in outermost([(t.channels, *chain(*t.tables)) for t in found])]


def _either(a: Any, b: Any) -> Any:
    """The union of two sets of channels, or of two tables."""
    return a | b if isinstance(a, Positions) else tuple(map(or_, a, b))
