"""A leaky ReLU whose slope is learnt, for each channel its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, result, vector

__all__ = ["PReLU"]


@dataclass(frozen=True)
class PReLU(Kernel):
    """What is below zero times a number for each channel; a NaN stays one.

    Arguments: x (buffer, ring, row), slope, y.
    """

    family: ClassVar[str] = "prelu"

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        source, slope = Rows("x", self.numbers.source), vector("slope")
        value, out = source[c, x, y], hl.Func(self.name)
        sloped = hl.select(value > hl.f32(0), value, value * slope[c])
        out[c, x, y] = self.stored(hl.strict_float(sloped))
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        return result(out), [*source.arguments, slope]
