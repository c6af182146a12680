# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""The matrix of a convolution, row by row: its panels, and a step for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from math import prod
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Window
from convsmith.arithmetic.window import source_index
from convsmith.draw.layout import BELOW, GAP, LABEL, LEGIBLE, Stack, arranged, side_for
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.facts import by, channel_label, factor, facts, kind_of, named
from convsmith.draw.scenes.ground import panel_name
from convsmith.draw.scenes.values import grid, kernels_of, lift, lift_place, maps_of, pick
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step, Symbol, Write
from convsmith.draw.words import Text, Words, text

__all__ = ["WORDS", "MatrixRows"]

WORDS: Words = {
    "title.matrix": ("{layer} as a matrix", "{layer}的矩阵"),
    "panel.vector": ("x: the input, flattened", "x：展平的输入"),
    "panel.matrix": ("matrix {size}", "矩阵 {size}"),
    "panel.result": ("y", "y"),
    "fact.matrix": ("a {rows}×{columns} matrix", "{rows}×{columns} 矩阵"),
    "fact.matrix_sparse": (
        "a {rows}×{columns} matrix; {held} of {every} entries hold a weight",
        "{rows}×{columns} 矩阵；{every} 个元素中有 {held} 个是权重",
    ),
    "fact.matrix_transposed": (
        "the {rows}×{columns} matrix of the convolution, transposed to {turned}",
        "卷积的 {rows}×{columns} 矩阵，转置为 {turned}",
    ),
    "caption.row": ("row {row}: {said}", "第 {row} 行：{said}"),
    "describe.matrix": (
        "{title}: {layer} on {size} gives {out}; the matrix has a row for each output value and a "
        "column for each input value, and {rows} rows and {columns} columns of it are drawn",
        "{title}：{layer} 作用于 {size}，得到 {out}；每个输出值对应一行，每个输入值对应一列，"
        "图中画出 {rows} 行 {columns} 列",
    ),
}

# Rows and columns that are drawn, and the pixels that they share.
_ROWS, _COLUMNS, _ROOM = 36, 64, 430.0
# Products that a caption spells out; how many maps are drawn, and how long one may be.
_TERMS, _MAPS, _MAP = 9, 4, 9

Terms = list[tuple[int, Any]]
"""The columns of a row that hold a weight, and the weights."""


class MatrixRows:
    """The rows of a matrix that are drawn, with the maps on both sides where they fit."""

    def __init__(
        self, layer: Conv | ConvTranspose, size: tuple[int, ...], values: Any, weight: Any
    ) -> None:
        self.layer, self.size = layer, size
        self.outputs = layer.output_size(size)
        self.maps = maps_of(values, (layer.in_channels, *size))
        self.kernels = kernels_of(weight, layer.weight_shape)
        self.whole = (
            layer.out_channels * prod(self.outputs),
            layer.in_channels * prod(size),
        )
        self.shape = (min(self.whole[0], _ROWS), min(self.whole[1], _COLUMNS))
        self.mapped = max((*size, *self.outputs)) <= _MAP
        rows, columns = self.shape
        # Beside a tall matrix the maps stand; over a wide one.
        self.tall = rows > columns and self.mapped
        room = _ROOM - 150.0 if self.tall else _ROOM
        self.side = min(side_for(columns + 2, room), side_for(rows, 560.0))
        self.numbers = self.side >= LEGIBLE
        self.axes = [
            [_taps(layer, w, place, length) for place in range(outs)]
            for w, length, outs in zip(layer.windows, size, self.outputs, strict=True)
        ]
        self.places = [
            (row // prod(self.outputs), self._at(row % prod(self.outputs), self.outputs))
            for row in range(self.shape[0])
        ]
        self.rows = [self._terms(channel, at) for channel, at in self.places]

    def _at(self, index: int, size: Sequence[int]) -> tuple[int, ...]:
        if len(size) == 1:
            return (index,)
        return index // size[1], index % size[1]

    def _terms(self, output: int, at: Sequence[int]) -> Terms:
        """One row of the matrix; columns that several taps read have the sum of their weights."""
        layer = self.layer
        group = output // (layer.out_channels // layer.groups)
        ins = layer.in_channels // layer.groups
        terms: dict[int, Any] = {}
        for local in range(ins):
            channel = group * ins + local
            kernel = self._kernel(output, channel)
            for taps in product(*(axis[p] for axis, p in zip(self.axes, at, strict=True))):
                source = [place for place, _ in taps]
                column = reduce(
                    lambda a, b: a * b[1] + b[0], zip(source, self.size, strict=True), 0
                )
                column += channel * prod(self.size)
                value = pick(kernel, lift_place([tap for _, tap in taps]))
                terms[column] = terms.get(column, 0) + value
        return sorted(terms.items())

    def _kernel(self, output: int, channel: int) -> Any:
        layer = self.layer
        ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        if layer.transposed:
            return self.kernels(channel, output % outs)
        return self.kernels(output, channel % ins)

    def _input(self, column: int) -> Any:
        channel, index = divmod(column, prod(self.size))
        return self.maps(channel, lift_place(self._at(index, self.size)))

    def _value(self, row: int) -> Any:
        return sum((self._input(c) * value for c, value in self.rows[row]), 0)

    # The scene

    def scene(self) -> Scene:
        """The scene: a step for each row."""
        layer, (rows, columns) = self.layer, self.shape
        maps, signs = arranged(self._maps()) if self.mapped else ((), ())
        steps = tuple(self._step(row) for row in range(rows))
        panels, symbols = self._below(maps, signs)
        notes = [facts(layer, self.size), self._fact()]
        if self.shape != self.whole:
            notes.append(text("fact.crop", shown=by(self.shape), whole=by(self.whole)))
        title = text("title.matrix", layer=text(f"title.{kind_of(layer)}"))
        described = text("describe.matrix", title=title, layer=repr(layer), size=by(self.size),
                         out=by(self.outputs), rows=rows, columns=columns)  # fmt: skip
        return Scene("matrix", title, described, panels, steps, tuple(notes), symbols)

    def _fact(self) -> Text:
        rows, columns = self.whole
        if self.layer.transposed:
            return text("fact.matrix_transposed", rows=columns, columns=rows, turned=by(self.whole))
        held = sum(map(len, self.rows))
        if self.shape != self.whole:
            return text("fact.matrix", rows=rows, columns=columns)
        return text("fact.matrix_sparse", rows=rows, columns=columns, held=held,
                    every=rows * columns)  # fmt: skip

    def _maps(self) -> list[Stack]:
        """The maps as one knows them, where they are small enough to stand above."""
        layer = self.layer
        ins, outs = min(layer.in_channels, _MAPS), min(layer.out_channels, _MAPS)
        side = 22.0
        inputs = []
        for c in range(ins):
            label = channel_label(c) if ins > 1 else text("panel.input", size=by(self.size))
            cells = [
                Cell(at, self.maps(c, (0, *at)))
                for at in grid(lift(self.size)[1:])
            ]  # fmt: skip
            inputs.append(self._map(panel_name("input", (c,), 0, 2), "input", self.size, cells,
                                    label, side))  # fmt: skip
        outputs = []
        for o in range(outs):
            label = channel_label(o) if outs > 1 else text("panel.output", size=by(self.outputs))
            cells = [Cell(at) for at in grid(lift(self.outputs)[1:])]
            outputs.append(self._map(panel_name("output", (o,), 0, 2), "output", self.outputs,
                                     cells, label, side))  # fmt: skip
        columns = [Stack(tuple((panel,) for panel in inputs))]
        if layer.in_channels == layer.out_channels == 1:
            kernel = self.kernels(0, 0)
            cells = [Cell(at, pick(kernel, (0, *at))) for at in grid(lift(layer.kernel_size)[1:])]
            label = text("panel.kernel", size=by(layer.kernel_size))
            panel = self._map("kernel0.0", "kernel", layer.kernel_size, cells, label, side)
            columns.append(Stack(((panel,),), "×" if layer.transposed else "\u2217"))
        sign = "=" if len(columns) > 1 else "→"
        columns.append(Stack(tuple((panel,) for panel in outputs), sign))
        return columns

    def _map(
        self, name: str, role: str, size: Sequence[int], cells: list[Cell], label: Text, side: float
    ) -> Panel:
        rows, columns = lift(size)[1:]
        return Panel(name, role, (rows, columns), tuple(cells), label=label, side=side)

    def _below(
        self, maps: tuple[Panel, ...], signs: tuple[Symbol, ...]
    ) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
        """The input as a row over the matrix, each value over its column; the output beside it."""
        rows, columns = self.shape
        side, numbers, tall = self.side, self.numbers, self.tall
        if tall:
            maps, signs = _stacked(maps)
        right = max((p.x + p.width for p in maps), default=0.0)
        left = right + GAP if tall else 0.0
        top = 0.0 if tall else max((p.y + p.height for p in maps), default=-BELOW) + BELOW
        y = top + LABEL
        vector = Panel("x", "input", (1, columns),
                       tuple(Cell((0, c), self._input(c) if numbers else None)
                             for c in range(columns)),
                       left, y, text("panel.vector"), side)  # fmt: skip
        y += side + 10
        body = Panel("matrix", "kernel", (rows, columns), self._cells(numbers), left, y,
                     text("panel.matrix", size=by(self.shape)), side, label_below=True)  # fmt: skip
        x = left + columns * side + 30
        result = Panel("y", "output", (rows, 1), tuple(Cell((r, 0)) for r in range(rows)), x, y,
                       text("panel.result"), side)  # fmt: skip
        equals = Symbol("=", x - 15, y + rows * side / 2)
        if not tall:
            # Whatever is narrower stands in the middle of the other.
            wide = x + side
            over = (wide - right) / 2
            maps = tuple(p.moved(p.x + over, p.y) for p in maps)
            signs = tuple(replace(s, x=s.x + over) for s in signs)
        return (*maps, vector, body, result), (*signs, equals)

    def _cells(self, numbers: bool) -> tuple[Cell, ...]:
        held = {(r, c): value for r, terms in enumerate(self.rows) for c, value in terms}
        ground = Cell((0, 0), None, "zero", self.shape)
        return ground, *(Cell(at, value if numbers else None) for at, value in held.items()
                         if at[1] < self.shape[1])  # fmt: skip

    def _step(self, row: int) -> Step:
        channel, at = self.places[row]
        value, columns = self._value(row), self.shape[1]
        seen = [c for c, _ in self.rows[row] if c < columns]
        last: At = (row, columns - 1)
        marks = [
            Mark("x", "window", tuple((0, c) for c in seen)),
            Mark("matrix", "active", ((row, 0), last)),
            Mark("y", "current", ((row, 0),)),
        ]
        writes = [Write("y", (row, 0), value)] if self.numbers else []
        if self.mapped:
            inside: dict[int, list[At]] = {}
            for c, _ in self.rows[row]:
                of, index = divmod(c, prod(self.size))
                inside.setdefault(of, []).append(lift_place(self._at(index, self.size))[1:])
            marks += [Mark(f"input{of}", "window", tuple(places)) for of, places in inside.items()
                      if of < _MAPS]  # fmt: skip
            if channel < _MAPS:
                place = lift_place(at)[1:]
                marks.append(Mark(f"output{channel}", "current", (place,)))
                writes.append(Write(f"output{channel}", place, value))
        return Step(self._caption(row, value), tuple(marks), tuple(writes))

    def _caption(self, row: int, value: Any) -> Text:
        channel, at = self.places[row]
        place = named(at, channel if self.layer.out_channels > 1 else None)
        terms = self.rows[row]
        if len(terms) > _TERMS:
            caption = text("caption.products", place=place, value=factor(value), count=len(terms))
        elif not terms:
            caption = text("caption.formula", place=place, formula="0")
        else:
            products = [f"{factor(v)}·{factor(self._input(c))}" for c, v in terms]
            formula = f"{' + '.join(products)} =\u00a0{factor(value)}"
            caption = text("caption.formula", place=place, formula=formula)
        return text("caption.row", row=row, said=caption)


def _taps(
    layer: Conv | ConvTranspose, window: Window, place: int, length: int
) -> list[tuple[int, int]]:
    """The input positions that an output depends on along an axis, each with its tap."""
    taps = []
    for tap in range(window.kernel):
        if isinstance(layer, ConvTranspose):
            source, rest = divmod(place + window.padding[0] - tap * window.dilation, window.stride)
            if not rest and 0 <= source < length:
                taps.append((source, tap))
            continue
        at = place * window.stride - window.padding[0] + tap * window.dilation
        index = source_index(at, length, layer.padding_mode)
        if index is not None:
            taps.append((index, tap))
    return taps


def _stacked(maps: tuple[Panel, ...]) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
    """Maps one under another, without signs."""
    wide = max(panel.width for panel in maps)
    placed, y = [], 0.0
    for panel in maps:
        y += LABEL
        placed.append(panel.moved((wide - panel.width) / 2, y))
        y += panel.height + BELOW
    return tuple(placed), ()
