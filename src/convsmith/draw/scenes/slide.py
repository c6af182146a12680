# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""One convolution as a window that slides: its panels, and a step for each position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from convsmith.arithmetic import Conv
from convsmith.draw.layout import Stack, apart, arranged, lined, piled
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.facts import (
    by,
    channel_label,
    factor,
    named,
    plus,
)
from convsmith.draw.scenes.ground import Ground, panel_name, side_of
from convsmith.draw.scenes.sums import Sums
from convsmith.draw.scenes.values import (
    At3,
    grid,
    lift,
    pick,
)
from convsmith.draw.storyboard import Cell, Link, Mark, Panel, Step, Write
from convsmith.draw.words import Text, Words, text

__all__ = ["WORDS", "Slide"]

WORDS: Words = {
    "fact.stacked": (
        "the groups' outputs are stacked as channels, not added",
        "各组的输出按通道拼接，不相加",
    ),
    "panel.partial": ("partial", "部分和"),
    "panel.bias": ("bias", "偏置"),
    "panel.rest": ("{count} more", "其余 {count} 个"),
    "caption.channels": (
        "{place} = {formula}, summed over the channels",
        "{place} = {formula}，各通道求和",
    ),
}

# Products that a caption spells out.
_TERMS = 9


class Slide:
    """One convolution over a ground, its window without padding."""

    def __init__(
        self,
        layer: Conv,
        ground: Ground,
        shown: At3,
        kernels: Callable[[int, int], Any],
        bias: Any,
        *,
        kind: str,
        title: Text,
        describe: str,
        size: tuple[int, ...],
        outputs: tuple[int, ...],
        input_label: Text,
        kernel_label: str = "panel.kernel",
        layer_text: str = "",
    ) -> None:
        self.layer, self.ground, self.shown = layer, ground, shown
        self.dims = layer.dims
        self.kernels, self.bias = kernels, bias
        self.kind, self.title, self.describe = kind, title, describe
        self.size, self.outputs = size, outputs
        self.input_label, self.kernel_label = input_label, kernel_label
        self.layer_text = layer_text or repr(layer)
        self.sums = Sums(layer, ground, shown, kernels, bias)
        self.channels = self.sums.channels

    def scene(self, notes: Sequence[Text]) -> Scene:
        """The scene: panels placed, a step for each position and each output of a group."""
        panels, symbols = self._placed()
        notes = list(notes)
        ins, outs = len(self.channels.inputs), len(self.channels.outputs)
        layer = self.layer
        if (ins, outs) != (layer.in_channels, layer.out_channels):
            notes.append(
                text(
                    "fact.crop_channels",
                    ins=ins,
                    all_ins=layer.in_channels,
                    outs=outs,
                    all_outs=layer.out_channels,
                )
            )
        if layer.groups > 1 and self.sums.summed:
            notes.append(text("fact.stacked"))
        steps = [
            self._step(number, at)
            for number in range(self.channels.outs)
            for at in grid(self.shown)
        ]
        description = text(
            self.describe,
            title=self.title,
            layer=self.layer_text,
            size=by(self.size),
            out=by(self.outputs),
        )
        return Scene(
            self.kind, self.title, description, panels, tuple(steps), tuple(notes), symbols
        )

    def _tones(self, of: Sequence[int], each: int) -> list[int]:
        return [channel // each for channel in of] if self.layer.groups > 1 else []

    # Panels

    def _placed(self) -> Any:
        channels = self.channels
        inputs = self.ground.panels(
            channels.inputs,
            lift(self.outputs),
            [
                channel_label(c, channels.group_of(c, "input"))
                if len(channels.inputs) > 1
                else self.input_label
                for c in channels.inputs
            ],
            self._tones(channels.inputs, channels.ins_of),
        )
        kernels = self._kernels()
        outputs = self._outputs()
        alone = len(channels.inputs) == len(channels.outputs) == 1
        if self.dims == 1 and alone and not self.sums.summed and self.bias is None:
            kernel = kernels[0][0]
            assert kernel is not None
            window = self.ground.windows[2]
            keeps = window.stride == 1 and self.outputs == self.size
            start = window.padding[0] if keeps else (inputs[0].size[1] - outputs[0].size[1]) / 2
            return lined(kernel, inputs[0], outputs[0], start * inputs[0].side)
        aligned = 0
        columns = [Stack(tuple((panel,) for panel in inputs))]
        columns.append(Stack(tuple(map(tuple, kernels)), "\u2217"))
        if (self.dims < 3 and not alone) or self.sums.summed:
            aligned = 2
        if self.sums.summed:
            partial = [self._single(f"partial{c}", "partial") for c in channels.inputs]
            partial[0] = replace(partial[0], label=text("panel.partial"))
            columns.append(Stack(tuple((panel,) for panel in partial), "="))
            aligned = 3
        added = self._added()
        if added:
            columns = _under_groups(columns, added)
            aligned = max(aligned, 2)
        sign = "Σ" if self.sums.summed else "="
        if self.dims == 1:
            # Long and flat: one under another, so that the numbers stay large.
            below = [Stack(tuple((panel,) for panel in outputs))]
            return piled([columns[:1], columns[1:], below], aligned)
        columns.append(Stack(tuple((panel,) for panel in outputs), sign))
        if channels.ins == channels.outs == 1 < channels.groups and not added:
            aligned = len(columns)  # one row per channel
        if self.dims == 3:
            aligned = 0
        placed, symbols = arranged(columns, aligned)
        if self.sums.summed and channels.groups > 1 and self.dims == 2:
            return apart(placed, symbols, channels.ins, channels.outs)
        return placed, symbols

    def _added(self) -> list[dict[int, list[Panel | None]]]:
        """What each group adds beside its products, by column: biases, and sums not shown."""
        channels = self.channels
        rows: list[dict[int, list[Panel | None]]] = [{} for _ in range(channels.groups)]
        for g, row in enumerate(rows):
            if self.bias is not None:
                outputs = self.sums.outputs_of(channels.inputs[g * channels.ins])
                row[1] = [
                    replace(self._single(f"bias{o}", "kernel", self.bias[o]),
                            label=text("panel.bias"))
                    for o in outputs
                ]  # fmt: skip
            if self.sums.summed and channels.rest:
                label = text("panel.rest", count=channels.rest)
                row[2] = [replace(self._single(f"rest{g}", "partial"), label=label)]
        return rows if any(rows) else []

    def _kernels(self) -> list[list[Panel | None]]:
        rows: list[list[Panel | None]] = []
        depths = range(self.ground.windows[0].kernel)
        for c in self.channels.inputs:
            for depth in depths:
                rows.append([self._kernel(o, c, depth) for o in self.sums.outputs_of(c)])
        return rows

    def _kernel(self, output: int, channel: int, depth: int) -> Panel:
        _, rows, columns = self.ground.windows
        slice_ = self.kernels(output, channel - self.sums.group(output) * self.channels.ins_of)[
            depth
        ]
        cells = [
            Cell(
                (row, column),
                pick(slice_, (row // rows.dilation, column // columns.dilation))
                if on_tap
                else None,
                "" if on_tap else "gap",
            )
            for row, column in grid((rows.extent, columns.extent))
            if (on_tap := not (row % rows.dilation or column % columns.dilation)) or True
        ]
        first = channel == self.sums.seen(output)[0] and not depth
        label = None
        if self.dims == 3:
            label = text("panel.slice", number=depth)
        elif len(self.channels.outputs) > 1:
            label = text("panel.kernel_number", number=output) if first else None
        if label is None and first and len(self.channels.outputs) == 1:
            label = text(self.kernel_label, size=by(self.layer.kernel_size))
        name = panel_name("kernel", (output, channel), depth, self.dims)
        tone = self.sums.group(output) if self.layer.groups > 1 else None
        side = side_of(self.ground.size, self.dims)
        return Panel(
            name, "kernel", (rows.extent, columns.extent), tuple(cells),
            label=label, side=side, tone=tone,
        )  # fmt: skip

    def _outputs(self) -> list[Panel]:
        panels = []
        size = (self.shown[1], self.shown[2])
        cells = tuple(Cell(at) for at in grid(size))
        tones = self._tones(self.channels.outputs, self.channels.outs_of)
        for index, o in enumerate(self.channels.outputs):
            for depth in range(self.shown[0]):
                label = text("panel.output", size=by(self.outputs))
                if self.dims == 3:
                    label = text("panel.slice", number=depth)
                elif len(self.channels.outputs) > 1:
                    label = channel_label(o, self.channels.group_of(o, "output"))
                name = panel_name("output", (o,), depth, self.dims)
                side = side_of(self.ground.size, self.dims)
                tone = tones[index] if tones else None
                panels.append(Panel(name, "output", size, cells, label=label, side=side, tone=tone))
        return panels

    def _single(self, name: str, role: str, value: Any = None) -> Panel:
        side = side_of(self.ground.size, self.dims)
        return Panel(name, role, (1, 1), (Cell((0, 0), value),), side=side)

    # Steps

    def _step(self, number: int, at: At3) -> Step:
        """Every group computes its output of a number at once: none waits for another."""
        channels = self.channels
        outputs = [g * channels.outs_of + number for g in range(channels.groups)]
        marks = self.ground.marks(channels.inputs, at)
        writes: list[Write] = []
        for g, o in enumerate(outputs):
            if len(channels.inputs) * len(channels.outputs) > 1:
                marks += [
                    Mark(panel_name("kernel", (o, c), depth, self.dims), "active", _corners(self))
                    for c in self.sums.seen(o)
                    for depth in range(self.ground.windows[0].kernel)
                ]
            name = panel_name("output", (o,), at[0], self.dims)
            marks.append(Mark(name, "current", (at[1:],)))
            writes.append(Write(name, at[1:], pick(self.sums.totals[o], at)))
            if self.sums.summed:
                writes += [
                    Write(f"partial{c}", (0, 0), pick(self.sums.partials[o, c], at))
                    for c in self.sums.seen(o)
                ]
                if o in self.sums.rests:
                    writes.append(Write(f"rest{g}", (0, 0), pick(self.sums.rests[o], at)))
        links: list[Link] = []
        if self.dims == 1 and len(channels.inputs) == len(channels.outputs) == 1:
            links = [
                Link(("input0", place[1:]), ("output0", at[1:])) for place in self.ground.reads(at)
            ]
        return Step(self._caption(outputs, at), tuple(marks), tuple(writes), tuple(links))

    def _caption(self, outputs: Sequence[int], at: At3) -> Text:
        place = at[3 - self.dims :]
        several = self.layer.out_channels > 1
        values = {o: pick(self.sums.totals[o], at) for o in outputs}
        if len(outputs) > 1:
            listed = ", ".join(f"{named(place, o)} = {factor(v)}" for o, v in values.items())
            return text("caption.values", values=listed)
        ((o, value),) = values.items()
        name = named(place, o if several else None)
        end = [self.bias[o]] if self.bias is not None else []
        if self.sums.summed:
            parts = [pick(self.sums.partials[o, c], at) for c in self.sums.seen(o)]
            parts += [pick(self.sums.rests[o], at)] if o in self.sums.rests else []
            formula = f"{plus([*parts, *end])} =\u00a0{factor(value)}"
            return text("caption.channels", place=name, formula=formula)
        taps = self.ground.reads(at)
        if len(taps) > _TERMS:
            return text("caption.products", place=name, value=factor(value), count=len(taps))
        (c,) = self.sums.seen(o)
        kernel = self.kernels(o, 0)
        terms = [
            f"{factor(self.ground.value(c, tap))}·{factor(pick(kernel, t))}"
            for tap, t in zip(taps, grid([w.kernel for w in self.ground.windows]), strict=True)
        ]
        terms += map(factor, end)
        formula = f"{' + '.join(terms)} =\u00a0{factor(value)}"
        return text("caption.formula", place=name, formula=formula)


def _corners(slide: Slide) -> tuple[tuple[int, int], ...]:
    _, rows, columns = slide.ground.windows
    return ((0, 0), (rows.extent - 1, columns.extent - 1))


def _under_groups(
    columns: Sequence[Stack], added: Sequence[dict[int, list[Panel | None]]]
) -> list[Stack]:
    """Columns with one more row under each group's, in which some columns hold something."""
    found = []
    for index, column in enumerate(columns):
        each = len(column.rows) // len(added)
        empty: list[Panel | None] = [None] * len(column.rows[0])
        rows: list[tuple[Panel | None, ...]] = []
        for g, row in enumerate(added):
            rows += column.rows[g * each : (g + 1) * each]
            rows.append(tuple(row.get(index, empty)))
        found.append(replace(column, rows=tuple(rows)))
    return found
