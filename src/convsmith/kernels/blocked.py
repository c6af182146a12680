"""Dense convolutions whose weights no second cache holds: a part of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.epilogue import BARE, Epilogue
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import ALIGNMENT, Kernel, Rows, ints, matrix, result, vector
from convsmith.kernels.pointwise import in_panel

__all__ = ["Blocked", "Tiled"]


@dataclass(frozen=True)
class Tiled:
    """A row in tiles of one length, the last of which is moved inwards.

    Attributes:
        extent: of the row, an expression; not shorter than a tile.
        length: of a tile.
    """

    extent: Any
    length: int

    @property
    def number(self) -> Any:
        """How many tiles there are."""
        return (self.extent + self.length - 1) // self.length

    def begin(self, tile: Any) -> Any:
        """Where a tile begins."""
        return hl.min(tile * self.length, self.extent - self.length)

    def place(self, x: Any) -> tuple[Any, Any]:
        """The place within its tile of a place in the row, and that tile.

        Halide cannot know their limits, and asks for more without them.
        """
        tile = hl.clamp(x // self.length, 0, self.number - 1)
        return hl.clamp(x - self.begin(tile), 0, self.length - 1), tile


@dataclass(frozen=True)
class Blocked(Kernel):
    """What `Dense` computes by parts, with the same bits; the loop over pixels is an inner one.

    For a tile of outputs, the weights of a tap, or of some of its inputs, go through all pixels of
    a call, whose sums lie in memory meanwhile. So they come from the third cache once a call, and
    not once a tile of pixels. Arguments: x (buffer, ring, row), pixels of a row of the output,
    inputs, those of a part, dilation (rows, pixels), w, b, slopes, residual, y.

    Attributes:
        channels: as for `Dense`, and so are all others.
    """

    family: ClassVar[str] = "blocked"

    channels: int
    pixels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    epilogue: Epilogue = BARE
    panel: int = field(kw_only=True)

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The algorithm and its schedule."""
        assert not self.numbers.word, "it reads and writes float32 alone"
        c, x, y, tile, pixel = (hl.Var(name) for name in ("c", "x", "y", "tile", "pixel"))
        n, u, v = hl.Var("n"), hl.Var("u"), hl.Var("v")
        source, other = Rows("x"), Rows("residual")
        width, inputs, near, dy, dx = ints("width", "inputs", "near", "dy", "dx")
        w, b, slope = matrix("w", self.panel), vector("b"), vector("slope")
        (ky, kx), (sy, sx) = self.kernel, self.stride

        row = Tiled(width, self.pixels)
        r = hl.RDom([(0, near)], "r")
        sums = hl.RDom([(0, inputs // near), (0, kx), (0, ky)], "sums")
        part, total, out = hl.Func("part"), hl.Func("total"), hl.Func(self.name)
        place, panel = in_panel(c, self)
        weight = w[place, r.x + near * n + inputs * (u + kx * (v + ky * panel))]
        across, down = (row.begin(tile) + pixel) * sx + u * dx, y * sy + v * dy
        part[c, pixel, tile, y, n, u, v] += weight * source[r.x + near * n, across, down]
        total[c, pixel, tile, y] = hl.f32(0)
        total[c, pixel, tile, y] += part[c, pixel, tile, y, sums.x, sums.y, sums.z]
        value = total[c, *row.place(x), y] + b[c]
        out[c, x, y] = self.epilogue.apply(value, other[c, x, y], slope[c])

        outer, vectors, lane = hl.Var("outer"), hl.Var("vectors"), hl.Var("lane")
        whole = hl.TailStrategy.RoundUp
        out.split(c, outer, vectors, self.channels, whole)
        out.split(vectors, vectors, lane, isa.lanes, whole)
        out.reorder(lane, vectors, x, y, outer).vectorize(lane).unroll(vectors)
        # On the stack, so to speak: memory that is asked for once a call, for all tiles of outputs.
        total.compute_at(out, outer).store_in(hl.MemoryType.Stack)
        total.bound(pixel, 0, row.length).bound(tile, 0, row.number)
        part.compute_at(total, tile)
        updates = total.update(), part.update()
        updates[0].reorder(c, pixel, tile, y, sums.x, sums.y, sums.z)
        updates[1].reorder(c, pixel, r.x)
        for stage in (total, part, *updates):
            stage.vectorize(c, isa.lanes).unroll(c).unroll(pixel)
        extra = self.epilogue.arguments(slope, other)
        return result(out), [*source.arguments, width, inputs, near, dy, dx, w, b, *extra]

    def scratch(self, isa: Isa, source: Sequence[int], target: Sequence[int]) -> int:
        """The sums of a tile of outputs, for all pixels."""
        _, width, height = target
        tiles = -(-width // self.pixels)
        return 4 * self.channels * self.pixels * tiles * height + 4 * ALIGNMENT
