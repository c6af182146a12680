# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""The stamps of a transposed convolution: its panels, and a step for each input value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from convsmith.arithmetic import ConvTranspose, evaluate
from convsmith.draw.layout import Stack, arranged, piled
from convsmith.draw.scenes.crop import Channels, shown_channels, shown_inputs
from convsmith.draw.scenes.facts import by, channel_label, factor, named
from convsmith.draw.scenes.ground import panel_name, side_of
from convsmith.draw.scenes.values import (
    At3,
    grid,
    lift,
    lift_windows,
    nested,
    pick,
)
from convsmith.draw.storyboard import CELL, At, Cell, Mark, Panel, Step, Symbol, Write
from convsmith.draw.words import Text, Words, text

__all__ = ["WORDS", "Stamps"]

WORDS: Words = {
    "panel.stamp": ("stamp", "印章"),
    "caption.stamp": (
        "{place} = {value}: {value} times the kernel is added to the output",
        "{place} = {value}：把 {value} 倍的卷积核加到输出上",
    ),
    "caption.done": (
        "The output: padding cuts off the rim",
        "输出：填充裁去了边缘",
    ),
}


class Stamps:
    """One transposed convolution on the whole canvas: what padding cuts off is drawn as well."""

    def __init__(
        self, layer: ConvTranspose, size: tuple[int, ...], image: Any, kernels: Any, bias: Any
    ) -> None:
        self.layer, self.dims, self.bias = layer, layer.dims, bias
        self.windows = lift_windows(layer.windows)
        self.channels: Channels = shown_channels(layer)
        self.maps: Callable[[int, At3], Any] = image
        self.kernels: Callable[[int, int], Any] = kernels
        shown = shown_inputs(layer.windows, size, self.channels.many)
        self.cut = shown != size
        self.input_size, self.size = lift(shown), size
        self.outputs = lift(layer.output_size(size))
        self.low: At3 = tuple(w.padding[0] for w in self.windows)  # type: ignore[assignment]
        extra = (*[0] * (3 - self.dims), *layer.output_padding)
        whole = lift(size)
        self.canvas: At3 = tuple(  # type: ignore[assignment]
            # Where inputs are left out, only the places that none of them reaches are shown.
            n * w.stride if n < every else (n - 1) * w.stride + w.extent + more
            for n, every, w, more in zip(self.input_size, whole, self.windows, extra, strict=True)
        )
        self.stamped = tuple(
            (n - 1) * w.stride + w.extent
            for n, w in zip(self.input_size, self.windows, strict=True)
        )
        self.seen = tuple(
            min(length - low, outs)
            for length, low, outs in zip(self.canvas, self.low, self.outputs, strict=True)
        )
        self.starts = {o: self._before(o) for o in self.channels.outputs}

    # Panels

    def placed(self) -> tuple[tuple[Panel, ...], tuple[Symbol, ...]]:
        """The panels and the signs between them."""
        channels, dims = self.channels, self.dims
        tones = self.layer.groups > 1
        inputs = [
            self._panel(
                "input", (c,), depth, self.input_size[1:],
                [Cell((r, k), self.maps(c, (depth, r, k))) for r, k in grid(self.input_size[1:])],
                self._label("input", c, depth, by(self.size), len(channels.inputs)),
                c // channels.ins_of if tones else None,
            )
            for c in channels.inputs
            for depth in range(self.input_size[0])
        ]  # fmt: skip
        kernels = [
            tuple(
                self._kernel(c, o, depth, o // channels.outs_of if tones else None)
                for o in self._outputs_of(c)
            )
            for c in channels.inputs
            for depth in range(self.windows[0].kernel)
        ]
        stamps = [
            self._panel(
                "stamp", (o,), depth, self._extent[1:],
                [Cell(at, None, "" if self._on_tap((depth, *at)) else "gap")
                 for at in grid(self._extent[1:])],
                text("panel.stamp") if o == channels.outputs[0] and not depth else None,
                o // channels.outs_of if tones else None,
                role="partial",
            )
            for o in channels.outputs
            for depth in range(self._extent[0])
        ]  # fmt: skip
        outputs = [
            self._panel(
                "output", (o,), depth, self.canvas[1:],
                [Cell(at, self.starts[o].get((depth, *at)), self._role((depth, *at)))
                 for at in grid(self.canvas[1:])],
                self._label("output", o, depth - self.low[0], by(self.outputs[3 - dims :]),
                            len(channels.outputs)),
                o // channels.outs_of if tones else None,
            )
            for o in channels.outputs
            for depth in range(self.canvas[0])
        ]  # fmt: skip
        columns = [
            Stack(tuple((panel,) for panel in inputs)),
            Stack(tuple(kernels), "×"),
            Stack(tuple((panel,) for panel in stamps), "="),
            Stack(tuple((panel,) for panel in outputs), "+"),
        ]
        if dims == 1:
            return piled([columns[:3], [replace(columns[3], sign="")]], 2)
        return arranged(columns, 2 if dims < 3 else 0)

    @property
    def _extent(self) -> At3:
        return tuple(w.extent for w in self.windows)  # type: ignore[return-value]

    def _panel(
        self,
        kind: str,
        index: Sequence[int],
        depth: int,
        size: Sequence[int],
        cells: Sequence[Cell],
        label: Text | None,
        tone: int | None,
        role: str | None = None,
    ) -> Panel:
        name = panel_name(kind, index, depth, self.dims)
        side = min(CELL, side_of(self.canvas, self.dims))
        return Panel(
            name, role or kind, (size[0], size[1]), tuple(cells), label=label, side=side, tone=tone
        )

    def _kernel(self, channel: int, output: int, depth: int, tone: int | None) -> Panel:
        _, rows, columns = self.windows
        place = output - self._group_of_output(output) * self.channels.outs_of
        kernel = self.kernels(channel, place)[depth]
        cells = [
            Cell(at, pick(kernel, (at[0] // rows.dilation, at[1] // columns.dilation)))
            if self._on_tap((0, *at))
            else Cell(at, None, "gap")
            for at in grid((rows.extent, columns.extent))
        ]
        label = None
        if self.dims == 3:
            label = text("panel.slice", number=depth)
        elif channel == self._group_of_output(output) * self.channels.ins_of:
            label = text("panel.kernel", size=by(self.layer.kernel_size))
            if len(self.channels.outputs) > 1:
                label = text("panel.kernel_number", number=output)
        size = (rows.extent, columns.extent)
        return self._panel("kernel", (channel, output), depth, size, cells, label, tone)

    def _label(self, kind: str, channel: int, depth: int, size: str, many: int) -> Text:
        if self.dims == 3:
            return text("panel.slice", number=depth)
        if many > 1:
            return channel_label(channel, self.channels.group_of(channel, kind))
        return text(f"panel.{kind}", size=size)

    def _on_tap(self, at: Sequence[int]) -> bool:
        return not any(place % w.dilation for place, w in zip(at, self.windows, strict=True))

    def _role(self, at: Sequence[int]) -> str:
        places = [place - low for place, low in zip(at, self.low, strict=True)]
        if any(not 0 <= p < outs for p, outs in zip(places, self.outputs, strict=True)):
            return "cropped"
        beyond = any(p >= reach for p, reach in zip(at, self.stamped, strict=True))
        return "extra" if beyond and not self.cut else ""

    def _outputs_of(self, channel: int) -> range:
        """The outputs that are shown of an input's group."""
        first = channel // self.channels.ins_of * self.channels.outs_of
        return range(first, first + self.channels.outs)

    def _group_of_output(self, channel: int) -> int:
        return channel // self.channels.outs_of

    # Steps

    def steps(self) -> list[Step]:
        """A step for each input of a group at each place; and the last, where something is cut."""
        channels = self.channels
        totals = {o: dict(self.starts[o]) for o in channels.outputs}
        steps = []
        for number in range(channels.ins):
            for at in grid(self.input_size):
                steps.append(self._step(number, at, totals))
        untouched = [
            Write(panel_name("output", (o,), at[0], self.dims), at[1:], 0)
            for o in channels.outputs
            for at in grid(self.canvas)
            if at not in totals[o]
        ]
        kept = [(low, low + n - 1) for low, n in zip(self.low, self.seen, strict=True)]
        if untouched or prod(self.canvas) > prod(self.seen):
            marks = tuple(
                Mark(panel_name("output", (o,), depth, self.dims), "kept",
                     ((kept[1][0], kept[2][0]), (kept[1][1], kept[2][1])))
                for o in channels.outputs
                for depth in range(kept[0][0], kept[0][1] + 1)
            )  # fmt: skip
            steps.append(Step(text("caption.done"), marks, tuple(untouched)))
        return steps

    def _before(self, output: int) -> dict[At3, Any]:
        """The bias, and what the channels that are not shown add: where the sums begin."""
        first = self._group_of_output(output) * self.channels.ins_of
        hidden = range(first + self.channels.ins, first + self.channels.ins_of)
        if not hidden:
            return {} if self.bias is None else dict.fromkeys(grid(self.canvas), self.bias[output])
        place = output % self.channels.outs_of
        many = ConvTranspose(
            len(hidden),
            1,
            tuple(w.kernel for w in self.windows),
            tuple(w.stride for w in self.windows),
            dilation=tuple(w.dilation for w in self.windows),
        )
        image = [nested(self.input_size, partial(self.maps, c)) for c in hidden]
        weight = [[self.kernels(c, place)] for c in hidden]
        bias = None if self.bias is None else [self.bias[output]]
        added = evaluate(many, image, weight, bias)[0]
        start = 0 if self.bias is None else self.bias[output]
        return {
            at: pick(added, at)
            if all(p < reach for p, reach in zip(at, self.stamped, strict=True))
            else start
            for at in grid(self.canvas)
        }

    def _step(self, number: int, at: At3, totals: dict[int, dict[At3, Any]]) -> Step:
        channels = self.channels
        marks: list[Mark] = []
        writes: list[Write] = []
        parts = []
        corner = [p * w.stride for p, w in zip(at, self.windows, strict=True)]
        for g in range(channels.groups):
            c = g * channels.ins_of + number
            value = self.maps(c, at)
            marks.append(Mark(panel_name("input", (c,), at[0], self.dims), "window", (at[1:],)))
            several = self.layer.in_channels > 1
            parts.append((named(at[3 - self.dims :], c if several else None, "x"), factor(value)))
            for o in range(g * channels.outs_of, g * channels.outs_of + channels.outs):
                stamp = self._stamp(c, o, value)
                touched: dict[int, list[At]] = {}
                for place in grid(self._extent):
                    if not self._on_tap(place):
                        continue
                    product = pick(stamp, place)
                    name = panel_name("stamp", (o,), place[0], self.dims)
                    writes.append(Write(name, place[1:], product))
                    target: At3 = tuple(a + b for a, b in zip(corner, place, strict=True))
                    if any(t >= n for t, n in zip(target, self.canvas, strict=True)):
                        continue
                    total = totals[o].get(target, 0) + product
                    totals[o][target] = total
                    touched.setdefault(target[0], []).append(target[1:])
                    name = panel_name("output", (o,), target[0], self.dims)
                    writes.append(Write(name, target[1:], total))
                marks += [
                    Mark(panel_name("output", (o,), depth, self.dims), "stamped", tuple(cells))
                    for depth, cells in touched.items()
                ]
                if len(channels.inputs) * len(channels.outputs) > 1:
                    ends = ((0, 0), (self._extent[1] - 1, self._extent[2] - 1))
                    marks += [
                        Mark(panel_name("kernel", (c, o), depth, self.dims), "active", ends)
                        for depth in range(self.windows[0].kernel)
                    ]
        if len(parts) == 1:
            caption = text("caption.stamp", place=parts[0][0], value=parts[0][1])
        else:
            listed = ", ".join(f"{place} = {value}" for place, value in parts)
            caption = text("caption.values", values=listed)
        return Step(caption, tuple(marks), tuple(writes))

    def _stamp(self, channel: int, output: int, value: Any) -> Any:
        """A value times a kernel, its taps apart as they fall on the output."""
        one = ConvTranspose(
            1,
            1,
            tuple(w.kernel for w in self.windows),
            dilation=tuple(w.dilation for w in self.windows),
        )
        place = output - self._group_of_output(output) * self.channels.outs_of
        return evaluate(one, [[[[value]]]], [[self.kernels(channel, place)]])[0]
