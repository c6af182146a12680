"""Exact sets of positions along one axis, as the bits of one Python int."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convsmith.errors import ArgumentError

__all__ = ["Positions"]


@dataclass(frozen=True, slots=True)
class Positions:
    """A finite set of integers: bit `b` of `bits` says that `offset + b` is in it.

    The form is canonical (the lowest bit is set; the empty set is `Positions()`), so equal sets
    are equal objects. Negative positions are allowed: they lie in the padding.

    >>> Positions.of([0, 2, 4]) | Positions.range(1, 2)
    Positions({0, 1, 2, 4})
    """

    bits: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        if self.bits < 0:
            raise ArgumentError(f"bits must not be negative, got {self.bits}")
        low = (self.bits & -self.bits).bit_length() - 1 if self.bits else 0
        object.__setattr__(self, "offset", self.offset + low if self.bits else 0)
        object.__setattr__(self, "bits", self.bits >> low)

    @classmethod
    def range(cls, start: int, stop: int) -> Positions:
        """The positions `start … stop - 1`; empty when `stop <= start`."""
        return cls((1 << max(0, stop - start)) - 1, start)

    @classmethod
    def of(cls, positions: Iterable[int]) -> Positions:
        """The set of the given integers, in any order."""
        numbers = list(positions)
        low = min(numbers, default=0)
        bits = 0
        for number in numbers:
            bits |= 1 << (number - low)
        return cls(bits, low)

    @property
    def start(self) -> int:
        """The lowest position (0 for the empty set)."""
        return self.offset

    @property
    def stop(self) -> int:
        """One past the highest position (0 for the empty set)."""
        return self.offset + self.bits.bit_length()

    @property
    def span(self) -> int:
        """Length of the shortest range that holds every position."""
        return self.bits.bit_length()

    @property
    def largest_gap(self) -> int:
        """Length of the longest run of absent positions between two present ones.

        >>> Positions.of([0, 1, 5]).largest_gap
        3
        """
        return max(map(len, f"{self.bits:b}".split("1")), default=0)

    def shift(self, by: int) -> Positions:
        """Every position moved by `by`."""
        return Positions(self.bits, self.offset + by)

    def clip(self, start: int, stop: int) -> Positions:
        """The positions in `[start, stop)`."""
        return self & Positions.range(start, stop)

    def scale(self, factor: int) -> Positions:
        """Every position multiplied by `factor` ≥ 1.

        >>> Positions.range(0, 3).scale(2)
        Positions({0, 2, 4})
        """
        zeros = "0" * (factor - 1)
        return Positions(int(zeros.join(f"{self.bits:b}"), 2), self.offset * factor)

    def divide(self, factor: int) -> Positions:
        """`p // factor` for each position p that `factor` ≥ 1 divides; the others are left out.

        >>> Positions.of([-2, 1, 4]).divide(2)
        Positions({-1, 2})
        """
        first = -self.offset % factor  # bits to the first multiple of `factor`
        digits = f"{self.bits >> first:b}"[::-1][::factor][::-1]
        return Positions(int(digits or "0", 2), (self.offset + first) // factor)

    def spread(self, count: int, step: int) -> Positions:
        """The union of this set moved by 0, step, …, (count - 1)·step: what `count` taps see."""
        bits, covered = self.bits, 1
        while covered < count:  # doubling: a kernel of k taps costs log k unions
            move = min(covered, count - covered)
            bits |= bits << (move * step)
            covered += move
        return Positions(bits, self.offset)

    def plus(self, other: Positions) -> Positions:
        """Every sum of a position of this set and one of another.

        >>> Positions.of([0, 1]).plus(Positions.of([0, 5]))
        Positions({0, 1, 5, 6})
        """
        bits = 0
        for move in other.shift(-other.offset):
            bits |= self.bits << move
        return Positions(bits, self.offset + other.offset)

    def __or__(self, other: Positions) -> Positions:
        if not self.bits or not other.bits:
            return self if self.bits else other
        low = min(self.offset, other.offset)
        return Positions(self.bits << (self.offset - low) | other.bits << (other.offset - low), low)

    def __and__(self, other: Positions) -> Positions:
        high = max(self.offset, other.offset)
        return Positions(
            (self.bits >> (high - self.offset)) & (other.bits >> (high - other.offset)), high
        )

    def __sub__(self, other: Positions) -> Positions:
        move = other.offset - self.offset
        taken = other.bits << move if move >= 0 else other.bits >> -move
        return Positions(self.bits & ~taken, self.offset)

    def __le__(self, other: Positions) -> bool:
        move = self.offset - other.offset
        if move < 0 or self.bits.bit_length() + move > other.bits.bit_length():
            return not self.bits
        return self.bits & ~(other.bits >> move) == 0

    def __contains__(self, position: int) -> bool:
        return position >= self.offset and bool(self.bits >> (position - self.offset) & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __iter__(self) -> Iterator[int]:
        return (i for i, bit in enumerate(reversed(f"{self.bits:b}"), self.offset) if bit == "1")

    def __repr__(self) -> str:
        if self.span > 2 and len(self) == self.span:
            return f"Positions({self.start} … {self.stop - 1})"
        shown = list(self)
        more = f", … {len(shown) - 12} more" if len(shown) > 12 else ""
        return f"Positions({{{', '.join(map(str, shown[:12]))}{more}}})"
