"""A map with further pixels around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result

__all__ = ["Pad"]


@dataclass(frozen=True)
class Pad(Kernel):
    """A map, and around it mirrored or repeated pixels of its own, or a constant.

    Arguments: x (buffer, ring, row 0), the first output row, rows and pixels of the source, those
    that are put above and to the left (cut off there, where they are negative), the constant, y.

    Attributes:
        mode: `constant`, `reflect`, `replicate` or `circular`, which reaches no further than the
            map itself does.
    """

    family: ClassVar[str] = "pad"

    mode: str

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, constant = Rows("x", self.numbers.source), hl.Param(hl.Float(32), "constant")
        numbers = first, height, width, above, left = ints(
            "first", "height", "width", "above", "left"
        )
        row, pixel = y + first - above, x - left
        place = c, self._folded(pixel, width), self._folded(row, height)
        out = hl.Func(self.name)
        if self.mode == "constant":
            inside = (row >= 0) & (row < height) & (pixel >= 0) & (pixel < width)
            out[c, x, y] = self.stored(hl.select(inside, source[place], constant))
        else:
            same = self.numbers.source == self.numbers.target
            out[c, x, y] = source.raw(place) if same else self.stored(source[place])
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        return result(out), [*source.arguments, *numbers, constant]

    def _folded(self, place: Any, length: Any) -> Any:
        """The row or pixel of the map whose values are those of a place that may be beyond it."""
        if self.mode == "circular":
            below = hl.select(place < 0, place + length, place)
            return hl.select(below >= length, below - length, below)
        if self.mode == "reflect":
            end = length - 1
            mirrored = end - hl.max(place, -place)
            return end - hl.max(mirrored, -mirrored)
        return hl.clamp(place, 0, length - 1)
