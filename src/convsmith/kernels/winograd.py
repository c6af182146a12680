"""Dense convolutions of three columns with two thirds of the products: Winograd's F(2, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.epilogue import BARE, Epilogue
from convsmith.kernels.isa import BLOCK, Isa
from convsmith.kernels.kernel import ALIGNMENT, Kernel, Rows, ints, matrix, result, vector
from convsmith.kernels.pointwise import in_panel

__all__ = ["POSITIONS", "TAPS", "Winograd"]

POSITIONS, TAPS = 4, 3
"""Products of a pair of pixels with a row of the window, and the taps of such a row."""


@dataclass(frozen=True)
class Winograd(Kernel):
    """A dense convolution of three columns, stride 1 and an even number of pixels in a row.

    Two neighbouring pixels take four products with a row of the window, of transformed weights g
    and inputs d, where they would take six (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308):

        m = (d0 − d2)·g0, (d1 + d2)·(g0 + g1 + g2)/2, (d2 − d1)·(g0 − g1 + g2)/2, (d1 − d3)·g2
        y = m0 + m1 + m2, m1 − m2 − m3

    The inputs of a few rows of outputs are transformed first, and each tile of channels goes
    through them all, so that its weights stay in the second cache. Arguments: x (buffer, ring,
    row), blocks of 16 inputs that are summed by themselves first, how often so many, w, b, slopes,
    residual, y. The weights lie as for `Pointwise`, the four products and the rows of the window
    being the outer parts of the summed axis.

    Attributes:
        channels: outputs of a register tile.
        pixels: of a tile, an even number.
        rows: of the window.
        stride: of its rows.
        lines: rows of outputs whose transformed inputs are held at once.
        panel: as for `Pointwise`.
    """

    family: ClassVar[str] = "winograd"

    channels: int
    pixels: int
    rows: int
    stride: int = 1
    lines: int = 4
    epilogue: Epilogue = BARE
    panel: int = 0

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        c, x, y = hl.Var("c"), hl.Var("x"), hl.Var("y")
        i, block, pair, m, n, v = (hl.Var(name) for name in ("i", "block", "pair", "m", "n", "v"))
        source, other = Rows("x"), Rows("residual")
        near, parts = ints("near", "parts")
        w, b, slope = matrix("w", self.panel or self.channels), vector("b"), vector("slope")
        inputs, part, total = hl.Func("inputs"), hl.Func("part"), hl.Func("total")
        d = [source[i + BLOCK * block, 2 * pair + tap, y] for tap in range(POSITIONS)]
        transformed = d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]
        inputs[i, pair, block, m, y] = hl.mux(m, list(transformed))

        r = hl.RDom([(0, BLOCK), (0, near)], "r")
        sums = hl.RDom([(0, parts), (0, self.rows)], "sums")
        place, panel = in_panel(c, self)
        line = r.y + near * (n + parts * (v + self.rows * (m + POSITIONS * panel)))
        factor = inputs[r.x, pair, r.y + near * n, m, y * self.stride + v]
        part[c, pair, y, m, n, v] += w[place, r.x + BLOCK * line] * factor
        total[c, pair, y, m] = hl.f32(0)
        total[c, pair, y, m] += part[c, pair, y, m, sums.x, sums.y]
        t = [total[c, x // 2, y, position] for position in range(POSITIONS)]
        value = hl.select(x % 2 == 0, t[0] + t[1] + t[2], t[1] - t[2] - t[3])
        out = hl.Func(self.name)
        value = hl.strict_float(hl.strict_float(value) + b[c])
        out[c, x, y] = self.epilogue.apply(value, other[c, x, y], slope[c])

        tiles, vectors, lane = hl.Var("tiles"), hl.Var("vectors"), hl.Var("lane")
        tile, parity, band = hl.Var("tile"), hl.Var("parity"), hl.Var("band")
        whole, inwards = hl.TailStrategy.RoundUp, hl.TailStrategy.ShiftInwards
        out.split(c, tiles, vectors, self.channels, whole)
        out.split(vectors, vectors, lane, isa.lanes, whole)
        out.split(x, x, parity, 2, whole).split(x, tile, pair, self.pixels // 2, inwards)
        out.split(y, band, y, self.lines, hl.TailStrategy.GuardWithIf)
        out.reorder(lane, vectors, parity, pair, tile, y, tiles, band).vectorize(lane)
        out.unroll(vectors).unroll(parity).unroll(pair)
        total.compute_at(out, tile).unroll(m)
        part.compute_at(total, sums.x)
        updates = total.update(), part.update()
        updates[0].reorder(c, pair, sums.x, sums.y, m)
        updates[1].reorder(c, pair, r.x, r.y)
        for stage in (total, part, *updates):
            stage.vectorize(c, isa.lanes).unroll(c).unroll(pair)
        inputs.compute_at(out, band).store_in(hl.MemoryType.Stack).bound(m, 0, POSITIONS)
        inputs.reorder(i, m, pair, block, y).vectorize(i, isa.lanes).unroll(m)
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, near, parts, w, b, *extra]

    def scratch(self, isa: Isa, source: Sequence[int], target: Sequence[int]) -> int:
        """The transformed inputs of some rows."""
        (inputs, *_), (_, width, height) = source, target
        rows = (min(self.lines, height) - 1) * self.stride + self.rows
        blocks = -(-inputs // BLOCK)
        return 4 * BLOCK * blocks * POSITIONS * -(-width // 2) * rows + 4 * ALIGNMENT
