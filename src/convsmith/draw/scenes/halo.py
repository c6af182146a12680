# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""What a tile of the output reads, its halo, and the seam that shows without it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

from convsmith.arithmetic import Chain, Conv, Pool, evaluate
from convsmith.arithmetic.normalise import Size, per_axis
from convsmith.draw.example import Example
from convsmith.draw.layout import GAP, LABEL, side_for
from convsmith.draw.lettering import shown
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.scenes.values import drawn_size, grid, kernels_of, maps_of, nested
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step, Write
from convsmith.draw.words import Words, text
from convsmith.errors import ArgumentError

__all__ = ["EXAMPLES", "WORDS", "halo"]

WORDS: Words = {
    "title.halo": ("A tile and its halo", "图块与它的重叠边缘"),
    "panel.with_halo": ("output, with halo", "输出（带重叠边缘）"),
    "panel.error": ("error without halo", "无重叠边缘时的误差"),
    "fact.tiles": ("tiles of {tile}: {count} · output {out}", "{count} 个 {tile} 图块，输出 {out}"),
    "fact.kernels": ("kernels {kernels}", "卷积核 {kernels}"),
    "caption.tile": (
        "rows {rows}, columns {columns} of the output need rows {need_rows}, columns "
        "{need_columns} of the input",
        "输出的行 {rows}、列 {columns} 需要输入的行 {need_rows}、列 {need_columns}",
    ),
    "caption.seam": (
        "without the halo {wrong} of {every} values are wrong, by up to {worst}",
        "没有重叠边缘时，{every} 个值中有 {wrong} 个出错，误差最大 {worst}",
    ),
    "describe.halo": (
        "{title}: each tile of {tile} needs a rim of the input around it; without the rim {wrong} "
        "of {every} values are wrong",
        "{title}：每个 {tile} 图块需要周围的一圈输入；没有它，{every} 个值中有 {wrong} 个出错",
    ),
}

_LONGEST, _TILES = 16, 64

Range = tuple[int, int]


def halo(
    layers: Sequence[Conv | Pool] | Chain,
    size: Size,
    tile: Size,
    *,
    values: Any = None,
    weights: Sequence[Any] | None = None,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw the input that each tile of the output needs, and what is wrong without the rim.

    All values are computed: the whole map at once, each tile from the input that it needs (they
    agree), and each tile from the part of the input under it alone, padded as a map of its own.

    Args:
        layers: convolutions and pools of one channel and two axes, the first reads the input.
        size: the size of the input, at most 16.
        tile: the size of a tile of the output.
        values: the input, shaped as `size`.
        weights: one per layer, None for a pool, shaped (*kernel_size); by default small numbers.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: layers with channels, a size without output or too large to draw.

    >>> import convsmith as cs
    >>> scene = halo([cs.Conv(1, 1, 3, padding=1)] * 2, 8, 4)
    >>> scene, len([v for v in scene.values("seam").values() if v])
    (Scene('halo', 3 panels, 5 steps), 48)
    """
    check_dress(language, theme)
    stack = tuple(layer for layer in layers if isinstance(layer, (Conv, Pool)))
    if len(stack) != len(layers) or not stack or any(
        layer.dims != 2
        or (isinstance(layer, Conv) and layer.in_channels * layer.out_channels > 1)
        for layer in stack
    ):  # fmt: skip
        raise ArgumentError("a halo is drawn for convolutions and pools of one channel, two axes")
    sizes = drawn_size(size, 2)
    tiles = per_axis("tile", tile, 2)
    if max(sizes) > _LONGEST:
        raise ArgumentError(f"a map of {by(sizes)} is too large to draw tiles on: at most 16×16")
    return dressed(_Tiles(stack, sizes, tiles, values, weights).scene(), language, theme)


class _Tiles:
    def __init__(
        self,
        stack: tuple[Conv | Pool, ...],
        size: tuple[int, ...],
        tile: tuple[int, ...],
        values: Any,
        weights: Sequence[Any] | None,
    ) -> None:
        self.stack, self.size, self.tile = stack, size, tile
        self.outputs = Chain(*stack).output_size(size)
        if max(self.outputs) > _LONGEST:
            raise ArgumentError(f"an output of {by(self.outputs)} is too large to draw: at most 16")
        kernels = weights or [None] * len(stack)
        if len(kernels) != len(stack):
            raise ArgumentError(
                f"{len(stack)} layers have {len(stack)} weights, not {len(kernels)}"
            )
        self.weights: list[Any] = []
        for index, (layer, weight) in enumerate(zip(stack, kernels, strict=True)):
            if isinstance(layer, Pool):
                self.weights.append(None)
                continue
            kernel = kernels_of(weight, layer.weight_shape)(0, 0)[0]
            # The usual numbers would soon be too long for a cell.
            small = [[v % 2 or (r + c + index) % 2 for c, v in enumerate(row)]
                     for r, row in enumerate(kernel)]  # fmt: skip
            self.weights.append(kernel if weight is not None else small)
        look = maps_of(values, (1, *size))
        self.image = nested(size, lambda at: look(0, (0, at[0], at[1])))
        self.whole = self._run(self.image)
        starts = [range(0, n, t) for n, t in zip(self.outputs, tile, strict=True)]
        self.tiles = [
            [(a, min(a + t, n)) for a, t, n in zip(corner, tile, self.outputs, strict=True)]
            for corner in product(*starts)
        ]
        if len(self.tiles) > _TILES:
            raise ArgumentError(f"{len(self.tiles)} tiles cannot be told apart: at most {_TILES}")
        self.needs = [self._needed(each) for each in self.tiles]
        self.cores = [self._under(each) for each in self.tiles]

    def _run(self, image: Any) -> Any:
        for layer, weight in zip(self.stack, self.weights, strict=True):
            image = evaluate(layer, image, weight)
        return image

    def _needed(self, tile: Sequence[Range]) -> list[Range]:
        """The rows and columns of the input that a tile depends on, those outside it left out."""
        ranges = []
        for axis, (start, stop) in enumerate(tile):
            for layer in reversed(self.stack):
                start, stop = layer.input_range(axis, start, stop)
            ranges.append((max(0, start), min(stop, self.size[axis])))
        return ranges

    def _under(self, tile: Sequence[Range]) -> list[Range]:
        """The part of the input that lies under a tile: as many times larger as the strides say."""
        ranges = []
        for axis, (start, stop) in enumerate(tile):
            step = 1
            for layer in self.stack:
                step *= layer.stride[axis]
            last = self.size[axis] if stop == self.outputs[axis] else stop * step
            ranges.append((start * step, min(last, self.size[axis])))
        return ranges

    def _alone(self, tile: Sequence[Range], core: Sequence[Range]) -> dict[At, Any]:
        """What a tile would be, computed from the part under it alone; None where nothing is."""
        (a, b), (c, d) = core
        cut = [row[c:d] for row in self.image[a:b]]
        try:
            result = self._run(cut)
        except ArgumentError:
            result = []
        values: dict[At, Any] = {}
        (top, bottom), (left, right) = tile
        for row, column in product(range(top, bottom), range(left, right)):
            r, k = row - top, column - left
            inside = r < len(result) and k < len(result[0])
            values[row, column] = result[r][k] if inside else None
        return values

    def scene(self) -> Scene:
        side = side_for(self.size[1] + 2 * self.outputs[1] + 2, 620.0)
        size: At = (self.size[0], self.size[1])
        outs: At = (self.outputs[0], self.outputs[1])
        x = (size[1] * side + GAP, (size[1] + outs[1]) * side + 2 * GAP)
        panels = (
            Panel("input", "input", size,
                  tuple(Cell(at, self.image[at[0]][at[1]]) for at in grid(size)),
                  0.0, LABEL, text("panel.input", size=by(size)), side),
            Panel("output", "output", outs, tuple(map(Cell, grid(outs))),
                  x[0], LABEL, text("panel.with_halo"), side),
            Panel("seam", "blank", outs, tuple(map(Cell, grid(outs))),
                  x[1], LABEL, text("panel.error"), side),
        )  # fmt: skip
        steps = []
        wrong: list[At] = []
        worst = 0.0
        for tile, need, core in zip(self.tiles, self.needs, self.cores, strict=True):
            (a, b), (c, d) = tile
            alone = self._alone(tile, core)
            writes = [Write("output", at, self.whole[at[0]][at[1]]) for at in alone]
            for at, value in alone.items():
                exact = self.whole[at[0]][at[1]]
                off = None if value is None else value - exact
                if off is None or abs(off) > 1e-9:
                    wrong.append(at)
                    writes.append(Write("seam", at, "–" if off is None else abs(off)))
                    worst = max(worst, abs(off or 0))
                else:
                    writes.append(Write("seam", at, 0))
            marks = [
                *(_outline("input", role, ends) for role, ends in (("tile", core), ("halo", need))),
                Mark("input", "window", tuple(product(range(*need[0]), range(*need[1])))),
                Mark("output", "tile", ((a, c), (b - 1, d - 1))),
                Mark("seam", "tile", ((a, c), (b - 1, d - 1))),
                Mark("seam", "wrong", tuple(wrong)),
            ]
            caption = text("caption.tile", rows=_span(tile[0]), columns=_span(tile[1]),
                           need_rows=_span(need[0]), need_columns=_span(need[1]))  # fmt: skip
            steps.append(Step(caption, tuple(marks), tuple(writes)))
        every = outs[0] * outs[1]
        steps.append(
            Step(
                text("caption.seam", wrong=len(wrong), every=every, worst=shown(worst)),
                (Mark("seam", "wrong", tuple(wrong)),) if wrong else (),
            )
        )
        title = text("title.halo")
        described = text("describe.halo", title=title, tile=by(self.tile), wrong=len(wrong),
                         every=every)  # fmt: skip
        notes = (
            text("fact.tiles", count=len(self.tiles), tile=by(self.tile), out=by(outs)),
            text("fact.kernels", kernels=", ".join(by(layer.kernel_size) for layer in self.stack)),
        )
        return Scene("halo", title, described, panels, tuple(steps), notes)


def _outline(panel: str, role: str, ends: Sequence[Range]) -> Mark:
    (a, b), (c, d) = ends
    return Mark(panel, role, ((a, c), (b - 1, d - 1)) if a < b and c < d else ())


def _span(ends: Range) -> str:
    return f"{ends[0]}…{ends[1] - 1}" if ends[1] - ends[0] > 1 else str(ends[0])


EXAMPLES = (
    Example("halo", "running", "What a tile needs, and the seam without it",
            "图块需要的输入，以及缺少它时的接缝",
            partial(halo, [Conv(1, 1, 3, padding=1)] * 2, 8, 4), order=10),
    Example("halo_pool", "running", "The same through a pool", "同上，经过池化",
            partial(halo, [Conv(1, 1, 3, padding=1), Pool(2), Conv(1, 1, 3, padding=1)], 12, 3),
            order=10),
)  # fmt: skip
