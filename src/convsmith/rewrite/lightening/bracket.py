"""Where to look next between a choice that was too slow and one that was too quick."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

__all__ = ["Bracket"]

_FINE = 1e-3


@dataclass
class Bracket:
    """What is known of budgets, in the milliseconds of a table that is not quite right.

    Attributes:
        quick: up to here the network that is chosen is quicker than it has to be.
        slow: from here on it is too slow.

    >>> bracket = Bracket(quick=1.0, slow=9.0)
    >>> bracket.learn(6.0, cost=5.8, slow=True)
    >>> bracket.next(4.0), bracket.next(6.5)
    (4.0, 3.4)
    """

    quick: float
    slow: float

    def learn(self, room: float, cost: float, *, slow: bool) -> None:
        """Take in that the choice within `room`, which costs `cost` by the table, was measured."""
        if slow:
            self.slow = min(self.slow, cost)
        else:
            self.quick = max(self.quick, room)

    def next(self, guess: float = nan) -> float | None:
        """The guess where it lies between both, or the middle; None where nothing is between."""
        if self.quick < guess < self.slow:
            return guess
        if self.slow - self.quick > _FINE * abs(self.slow):
            return (self.quick + self.slow) / 2
        return None
