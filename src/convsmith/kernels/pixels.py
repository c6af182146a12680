"""Kernels that move channels to pixels, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result

__all__ = ["ToChannels", "ToPixels"]


@dataclass(frozen=True)
class ToPixels(Kernel):
    """Each `factor`² channels become that many pixels of one channel.

    Arguments: x (buffer, ring, row), the place of the first output row in its square, y.
    """

    family: ClassVar[str] = "topixels"

    factor: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, pixel = (hl.Var(name) for name in ("c", "x", "y", "pixel"))
        source, (first,) = Rows("x", self.numbers.source), ints("first")
        row, side = y + first, self.factor
        within = row % side * side + x % side
        place = c * side**2 + within, x // side, row // side
        out = hl.Func(self.name)
        same = self.numbers.source == self.numbers.target
        out[c, x, y] = source.raw(place) if same else self.stored(source[place])
        out.split(x, x, pixel, side, hl.TailStrategy.GuardWithIf).reorder(c, pixel, x, y)
        out.vectorize(c, isa.lanes, hl.TailStrategy.GuardWithIf)
        return result(out), [*source.arguments, first]


@dataclass(frozen=True)
class ToChannels(Kernel):
    """The pixels of each square of a side of `factor` become as many channels.

    Arguments: x (buffer, ring, row), y.
    """

    family: ClassVar[str] = "tochannels"

    factor: int

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, within = (hl.Var(name) for name in ("c", "x", "y", "within"))
        source, side = Rows("x", self.numbers.source), self.factor
        at = c % side**2
        place = c // side**2, x * side + at % side, y * side + at // side
        out = hl.Func(self.name)
        same = self.numbers.source == self.numbers.target
        out[c, x, y] = source.raw(place) if same else self.stored(source[place])
        out.split(c, c, within, side**2, hl.TailStrategy.GuardWithIf)
        out.reorder(c, within, x, y).vectorize(c, isa.lanes, hl.TailStrategy.GuardWithIf)
        return result(out), source.arguments
