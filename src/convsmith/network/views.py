"""What a layer sees of the image: products of tables, one period of positions an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.arithmetic import Positions, Region

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


def union(table: Table, positions: Positions, moved: int) -> Positions:
    """What a set of positions sees, from a table whose entries move by `moved` a period."""
    total = Positions()
    for position in positions:
        period, phase = divmod(position, len(table))
        total |= table[phase].shift(period * moved)
    return total


def fewest(terms: list[Term]) -> list[Term]:
    """The same union in fewer terms: those inside others dropped, those that differ once joined."""
    kept: list[Term] = []
    for term in terms:
        if not all(map(any, term.tables)):
            continue
        place = 0
        while place < len(kept):
            joined = _joined(term, kept[place])
            if joined is None:
                place += 1
            else:
                del kept[place]
                term, place = joined, 0
        kept.append(term)
    return kept


def _joined(a: Term, b: Term) -> Term | None:
    """Two terms as one, if that is exactly their union."""
    if a.tables == b.tables:
        return Term(a.channels | b.channels, a.tables)
    for inner, outer in ((a, b), (b, a)):
        if _inside(inner.channels, outer.channels) and all(
            mine is others or all(map(_inside, mine, others))
            for mine, others in zip(inner.tables, outer.tables, strict=True)
        ):
            return outer
    if a.channels != b.channels:
        return None
    differ = [axis for axis, table in enumerate(a.tables) if table != b.tables[axis]]
    if len(differ) != 1:
        return None
    (axis,) = differ
    both = tuple(p | q for p, q in zip(a.tables[axis], b.tables[axis], strict=True))
    return Term(a.channels, (*a.tables[:axis], both, *a.tables[axis + 1 :]))


def _inside(inner: Positions, outer: Positions) -> bool:
    if not inner.bits:
        return True
    if inner.start < outer.start or inner.stop > outer.stop:
        return False
    return inner.bits & ~(outer.bits >> (inner.offset - outer.offset)) == 0
