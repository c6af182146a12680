"""Dense convolutions of three columns with two thirds of the products: Winograd's F(2, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.blocked import Tiled
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

    The inputs of some rows of outputs are transformed first. Then, for each tile of channels, a
    part of its weights after the other goes through them all, as in `Blocked`. Arguments: x
    (buffer, ring, row), pixels of a row of the output, blocks of 16 inputs that are summed by
    themselves first, how often so many, w, b, slopes, residual, y. The weights lie as for
    `Pointwise`, the four products and the rows of the window being the outer parts of the sum.

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
    panel: int = field(kw_only=True)

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        assert not self.numbers.word, "it reads and writes float32 alone"
        c, x, y, tile, pair = (hl.Var(name) for name in ("c", "x", "y", "tile", "pair"))
        i, block, m, n, v = (hl.Var(name) for name in ("i", "block", "m", "n", "v"))
        source, other = Rows("x"), Rows("residual")
        width, near, parts = ints("width", "near", "parts")
        w, b, slope = matrix("w", self.panel), vector("b"), vector("slope")
        inputs, part, total = hl.Func("inputs"), hl.Func("part"), hl.Func("total")
        d = [source[i + BLOCK * block, 2 * pair + tap, y] for tap in range(POSITIONS)]
        transformed = d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]
        inputs[i, pair, block, m, y] = hl.mux(m, list(transformed))

        row = Tiled(width // 2, self.pixels // 2)
        r = hl.RDom([(0, BLOCK), (0, near)], "r")
        sums = hl.RDom([(0, parts), (0, self.rows), (0, POSITIONS)], "sums")
        place, panel = in_panel(c, self)
        line = r.y + near * (n + parts * (v + self.rows * (m + POSITIONS * panel)))
        factor = inputs[r.x, row.begin(tile) + pair, r.y + near * n, m, y * self.stride + v]
        part[c, pair, tile, y, n, v, m] += w[place, r.x + BLOCK * line] * factor
        total[c, pair, tile, y, m] = hl.f32(0)
        total[c, pair, tile, y, sums.z] += part[c, pair, tile, y, sums.x, sums.y, sums.z]
        place_of = row.place(x // 2)
        t = [total[c, *place_of, y, position] for position in range(POSITIONS)]
        value = hl.select(x % 2 == 0, t[0] + t[1] + t[2], t[1] - t[2] - t[3])
        out = hl.Func(self.name)
        value = hl.strict_float(hl.strict_float(value) + b[c])
        out[c, x, y] = self.epilogue.apply(value, other[c, x, y], slope[c])

        outer, vectors, lane = hl.Var("outer"), hl.Var("vectors"), hl.Var("lane")
        parity, band = hl.Var("parity"), hl.Var("band")
        whole = hl.TailStrategy.RoundUp
        out.split(c, outer, vectors, self.channels, whole)
        out.split(vectors, vectors, lane, isa.lanes, whole)
        out.align_bounds(x, 2).split(x, x, parity, 2, whole)
        out.split(y, band, y, self.lines, hl.TailStrategy.GuardWithIf)
        out.reorder(lane, vectors, parity, x, y, outer, band).vectorize(lane)
        out.unroll(vectors).unroll(parity)
        total.compute_at(out, outer).store_in(hl.MemoryType.Stack)
        total.bound(pair, 0, row.length).bound(tile, 0, row.number).bound(m, 0, POSITIONS)
        part.compute_at(total, tile)
        updates = total.update(), part.update()
        updates[0].reorder(c, pair, tile, y, sums.x, sums.y, sums.z)
        updates[1].reorder(c, pair, r.x, r.y)
        for stage in (total, part, *updates):
            stage.vectorize(c, isa.lanes).unroll(c).unroll(pair)
        inputs.compute_at(out, band).store_in(hl.MemoryType.Stack).bound(m, 0, POSITIONS)
        inputs.reorder(i, m, pair, block, y).vectorize(i, isa.lanes).unroll(m)
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, width, near, parts, w, b, *extra]

    def scratch(self, isa: Isa, source: Sequence[int], target: Sequence[int]) -> int:
        """The transformed inputs of some rows, and the sums of a tile of channels."""
        (inputs, *_), (_, width, height) = source, target
        lines, pairs = min(self.lines, height), self.pixels // 2
        blocks, tiles = -(-inputs // BLOCK), -(-width // self.pixels)
        held = BLOCK * blocks * -(-width // 2) * ((lines - 1) * self.stride + self.rows)
        return 4 * POSITIONS * (held + self.channels * pairs * tiles * lines) + 8 * ALIGNMENT
