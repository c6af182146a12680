"""Pools whose windows follow from the sizes of the source and of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, Rows, ints, result
from convsmith.kernels.rows import larger

__all__ = ["Adaptive"]


@dataclass(frozen=True)
class Adaptive(Kernel):
    """The mean of each window, or its largest value.

    Window i of n values onto w results is from ⌊i·n/w⌋ to before ⌈(i+1)·n/w⌉.

    Arguments: x (buffer, ring, row 0), the first output row, rows and pixels of the source, those
    of the result, y.

    Attributes:
        largest: whether it is the largest value.
    """

    family: ClassVar[str] = "adaptive"

    largest: bool = False

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y, row = (hl.Var(name) for name in ("c", "x", "y", "row"))
        source = Rows("x", self.numbers.source)
        numbers = first, height, width, tall, wide = ints(
            "first", "height", "width", "tall", "wide"
        )

        def window(index: Any, length: Any, outputs: Any) -> tuple[Any, Any]:
            start = index * length // outputs
            return start, ((index + 1) * length + outputs - 1) // outputs - start

        (top, rows), (left, pixels) = window(y + first, height, tall), window(x, width, wide)
        across = hl.RDom([(0, (width + wide - 1) // wide + 1)], "across")
        down = hl.RDom([(0, (height + tall - 1) // tall + 1)], "down")
        across.where(across.x < pixels)
        down.where(down.x < rows)
        # Rows by themselves first: one sum would round each value at the size of all before it.
        line, whole, out = hl.Func("line"), hl.Func("whole"), hl.Func(self.name)
        value = source[c, left + across.x, top + row]
        if self.largest:
            line[c, x, y, row] = whole[c, x, y] = hl.f32(float("-inf"))
            line[c, x, y, row] = larger(value, line[c, x, y, row])
            whole[c, x, y] = larger(hl.Expr(line[c, x, y, down.x]), hl.Expr(whole[c, x, y]))
        else:
            line[c, x, y, row] += value
            whole[c, x, y] += line[c, x, y, down.x]
        share = whole[c, x, y] if self.largest else whole[c, x, y] / hl.f32(rows * pixels)
        out[c, x, y] = self.stored(share)
        block, lane = hl.Var("block"), hl.Var("lane")
        out.split(c, block, lane, isa.lanes, hl.TailStrategy.RoundUp).vectorize(lane)
        whole.compute_at(out, block).vectorize(c, isa.lanes)
        whole.update().reorder(c, x, y, down.x).vectorize(c, isa.lanes)
        line.compute_at(whole, down.x).bound_extent(row, 1).vectorize(c, isa.lanes)
        line.update().reorder(c, x, y, row, across.x).vectorize(c, isa.lanes)
        return result(out), [*source.arguments, *numbers]
