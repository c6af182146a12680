# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A convolution as one dense product: the patches under the window become columns (im2col)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

from convsmith.arithmetic import Conv
from convsmith.arithmetic.normalise import Size
from convsmith.draw.example import Example
from convsmith.draw.layout import BELOW, GAP, LABEL, LEGIBLE, side_for
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.crop import check_extent
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by, channel_label, factor, facts, kind_of, named
from convsmith.draw.scenes.ground import Ground
from convsmith.draw.scenes.values import (
    drawn_size,
    grid,
    kernels_of,
    lift,
    lift_windows,
    maps_of,
    pick,
)
from convsmith.draw.storyboard import Cell, Mark, Panel, Step, Symbol, Write
from convsmith.draw.words import Text, Words, text
from convsmith.errors import ArgumentError

__all__ = ["EXAMPLES", "WORDS", "im2col"]

WORDS: Words = {
    "title.im2col": ("{layer} by im2col", "{layer}：im2col"),
    "panel.patches": ("patches {size}", "小块矩阵 {size}"),
    "panel.weights": ("kernels {size}", "卷积核矩阵 {size}"),
    "panel.product": ("product {size}", "乘积 {size}"),
    "fact.im2col": (
        "each patch under the window becomes a column: kernels {left} times patches {right}",
        "窗口下的每个小块成为一列：卷积核 {left} 乘以小块 {right}",
    ),
    "caption.column": ("column {column}: {said}", "第 {column} 列：{said}"),
    "describe.im2col": (
        "{title}: {layer} on {size} gives {out}; each patch under the window becomes a column, and "
        "one matrix product gives all output values",
        "{title}：{layer} 作用于 {size}，得到 {out}；窗口下的每个小块成为一列，"
        "一次矩阵乘法给出所有输出值",
    ),
}

# Rows and columns of patches that are drawn, kernels, padded positions of a map, maps.
_ROWS, _COLUMNS, _KERNELS, _MAP, _MAPS = 12, 16, 6, 10, 3
_ROOM, _TERMS = 470.0, 9


def im2col(
    layer: Conv,
    size: Size,
    *,
    values: Any = None,
    weight: Any = None,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw how a convolution becomes one matrix product: kernels times patches.

    The kernels are the rows of one matrix, the patches under the window the columns of the other,
    shaped (in_channels·k·k, outputs) as `convsmith.arithmetic.im2col` makes it (Chellapilla et al.
    2006). Of large ones the first rows and columns are drawn, and the drawing says so.

    Args:
        layer: `Conv` of one or two axes and one group; a bias is left out.
        size: the spatial size of the input, an int, or one per axis.
        values: the input, shaped (channels, *size); (*size) is enough for one channel.
        weight: shaped as `layer.weight_shape`; (*kernel_size) is enough for one channel.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: another layer, a size without output, or arrays of another shape.

    >>> import convsmith as cs
    >>> scene = im2col(cs.Conv(1, 1, 3), 5)
    >>> scene, scene.panel("patches").size
    (Scene('im2col', 4 panels, 9 steps), (9, 9))
    """
    check_dress(language, theme)
    if not isinstance(layer, Conv) or layer.dims > 2 or layer.groups > 1:
        raise ArgumentError(f"im2col is drawn for a Conv of one group, 1 or 2 axes, not {layer!r}")
    check_extent(layer)
    lengths = drawn_size(size, layer.dims)
    return dressed(_Patches(layer, lengths, values, weight).scene(), language, theme)


class _Patches:
    def __init__(self, layer: Conv, size: tuple[int, ...], values: Any, weight: Any) -> None:
        self.layer, self.size = layer, size
        self.outputs = layer.output_size(size)
        padded = [n + sum(w.padding) for n, w in zip(size, layer.windows, strict=True)]
        self.ground = Ground(
            maps_of(values, (layer.in_channels, *size)),
            lift_windows(layer.windows),
            lift(size),
            lift(padded),
            layer.padding_mode,
            dims=layer.dims,
        )
        self.kernels = kernels_of(weight, layer.weight_shape)
        self.taps = grid(lift(layer.kernel_size))
        self.whole = (layer.in_channels * layer.taps, prod(self.outputs))
        self.shape = (min(self.whole[0], _ROWS), min(self.whole[1], _COLUMNS))
        self.shown = min(layer.out_channels, _KERNELS)
        rows, columns = self.shape
        # The input stands over the kernels, so both share their width.
        self.maps = min(layer.in_channels, _MAPS)
        self.mapped = max(padded) <= _MAP
        self.side = min(side_for(rows + columns + 1, _ROOM), side_for(rows, 480.0))
        self.numbers = self.side >= LEGIBLE
        self.places = grid(lift(self.outputs))[: self.shape[1]]
        self.columns = [self._patch(at) for at in self.places]
        self.rows = [
            [
                pick(self.kernels(o, c), tap)
                for c in range(layer.in_channels)
                for tap in self.taps
            ]
            for o in range(self.shown)
        ]  # fmt: skip

    def _patch(self, at: Any) -> list[Any]:
        return [
            self.ground.value(c, place)
            for c in range(self.layer.in_channels)
            for place in self.ground.reads(at)
        ]

    def scene(self) -> Scene:
        layer = self.layer
        left, right = (layer.out_channels, self.whole[0]), self.whole
        notes = [
            facts(layer, self.size),
            text("fact.im2col", left=by(left), right=by(right)),
        ]
        drawn = (self.shown, *self.shape)
        if drawn != (layer.out_channels, *self.whole):
            notes.append(text("fact.crop", shown=by(self.shape), whole=by(self.whole)))
        title = text("title.im2col", layer=text(f"title.{kind_of(layer)}"))
        described = text("describe.im2col", title=title, layer=repr(layer), size=by(self.size),
                         out=by(self.outputs))  # fmt: skip
        steps = tuple(self._step(column) for column in range(self.shape[1]))
        panels, symbols = self._placed()
        return Scene("im2col", title, described, panels, steps, tuple(notes), symbols)

    def _placed(self) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
        """Kernels left of the product, patches above it: each value where its row and column meet.

        That is Falk's scheme; the quarter that it leaves free holds the input.
        """
        rows, columns = self.shape
        side = self.side
        inputs = self._inputs() if self.mapped else []
        high = sum(p.height + LABEL for p in inputs) + BELOW * (len(inputs) - 1)
        wide = max([rows * side, *(p.width for p in inputs)])
        deep = max(rows * side + LABEL, high)
        x = wide + GAP
        y = deep + BELOW + LABEL
        panels, top = [], (deep - high) / 2
        for panel in inputs:
            top += LABEL
            panels.append(panel.moved((wide - panel.width) / 2, top))
            top += panel.height + BELOW
        weights = Panel(
            "weights", "kernel", (self.shown, rows),
            tuple(Cell((o, r), self.rows[o][r] if self.numbers else None)
                  for o in range(self.shown) for r in range(rows)),
            wide - rows * side, y, text("panel.weights", size=by((self.shown, rows))), side,
            label_below=True,
        )  # fmt: skip
        patches = Panel(
            "patches", "input", self.shape, tuple(Cell(at) for at in grid(self.shape)),
            x, deep - rows * side, text("panel.patches", size=by(self.shape)), side,
        )  # fmt: skip
        product = Panel(
            "product", "output", (self.shown, columns),
            tuple(Cell(at) for at in grid((self.shown, columns))),
            x, y, text("panel.product", size=by((self.shown, columns))), side, label_below=True,
        )  # fmt: skip
        middle = wide + GAP / 2
        signs = (
            Symbol("×", middle, deep + (BELOW + LABEL) / 2),
            Symbol("=", middle, y + self.shown * side / 2),
        )
        return (*panels, weights, patches, product), signs

    def _inputs(self) -> list[Panel]:
        channels = range(self.maps)
        labels: list[Text] = [
            channel_label(c) if len(channels) > 1 else text("panel.input", size=by(self.size))
            for c in channels
        ]
        panels = self.ground.panels(channels, lift(self.outputs), labels)
        room = (216.0 if len(channels) > 1 else 200.0) / max(self.ground.size)
        side = min(24.0, int(room))
        return [
            Panel(p.name, p.role, p.size, p.cells, 0.0, 0.0, p.label, side) for p in panels
        ]  # fmt: skip

    def _step(self, column: int) -> Step:
        at, patch = self.places[column], self.columns[column]
        rows = self.shape[0]
        marks = self.ground.marks(range(self.maps), at) if self.mapped else []
        marks += [
            Mark("patches", "window", tuple((r, column) for r in range(rows))),
            Mark("product", "current", tuple((o, column) for o in range(self.shown))),
        ]
        products = [sum((a * b for a, b in zip(row, patch, strict=True)), 0) for row in self.rows]
        writes = []
        if self.numbers:
            writes += [Write("patches", (r, column), patch[r]) for r in range(rows)]
            writes += [Write("product", (o, column), value) for o, value in enumerate(products)]
        return Step(self._caption(column, products), tuple(marks), tuple(writes))

    def _caption(self, column: int, products: Sequence[Any]) -> Text:
        at = self.places[column][3 - self.layer.dims :]
        if len(products) > 1:
            listed = ", ".join(f"{named(at, o)} = {factor(v)}" for o, v in enumerate(products))
            caption = text("caption.values", values=listed)
        elif len(self.rows[0]) > _TERMS:
            caption = text("caption.products", place=named(at), value=factor(products[0]),
                        count=len(self.rows[0]))  # fmt: skip
        else:
            pairs = zip(self.rows[0], self.columns[column], strict=True)
            terms = " + ".join(f"{factor(a)}·{factor(b)}" for a, b in pairs)
            caption = text("caption.formula", place=named(at),
                        formula=f"{terms} =\u00a0{factor(products[0])}")  # fmt: skip
        return text("caption.column", column=column, said=caption)


EXAMPLES = (
    Example("im2col", "matrix", "Patches as columns (im2col)", "小块成为列（im2col）",
            partial(im2col, Conv(1, 1, 3), 5, weight=[[1, 2, 1], [2, 1, 2], [1, 1, 2]]),
            order=60),
    Example("im2col_channels", "matrix", "im2col of two channels and three kernels",
            "两个通道、三个核的 im2col", partial(im2col, Conv(2, 3, 2), 3), order=60),
)  # fmt: skip
