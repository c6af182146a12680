# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A depthwise separable convolution in one scene: each channel on its own, then all mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from convsmith.arithmetic import Conv, evaluate
from convsmith.arithmetic.normalise import Size
from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.layout import Stack, arranged
from convsmith.draw.options import (
    Channels,
    Dilation,
    Dims,
    Input,
    Kernel,
    Padding,
    Stride,
    Values,
    build_layer,
    named_axes,
    parse_channels,
    planar,
)
from convsmith.draw.reading import optional_values
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.areas import cost_areas
from convsmith.draw.scenes.crop import check_extent
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by, channel_label, factor, facts, named
from convsmith.draw.scenes.ground import Ground
from convsmith.draw.scenes.values import (
    At3,
    drawn_size,
    grid,
    kernels_of,
    lift,
    lift_windows,
    maps_of,
    pick,
)
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step, Write
from convsmith.draw.words import Text, Words, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import number

__all__ = ["COMMANDS", "EXAMPLES", "WORDS", "separable"]

WORDS: Words = {
    "title.separable": ("Depthwise separable convolution", "深度可分离卷积"),
    "panel.middle_channel": ("middle {number}", "中间 {number}"),
    "panel.depthwise": ("depthwise {size}", "深度卷积核 {size}"),
    "panel.pointwise": ("pointwise {size}", "逐点卷积核 {size}"),
    "fact.separable": (
        "multiplications a position: {each} + {mix} = {sum}, standard {whole}",
        "每个位置的乘法次数：{each} + {mix} = {sum}，标准卷积 {whole}",
    ),
    "fact.ratio": (
        "1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}: {times} times fewer",
        "1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}：减少到 1/{times}",
    ),
    "caption.depthwise": ("depthwise: {values}", "深度卷积：{values}"),
    "caption.pointwise": ("pointwise: {values}", "逐点卷积：{values}"),
    "describe.separable": (
        "{title}: {layer} on {size} gives {out}; a depthwise convolution treats each channel for "
        "itself, then a pointwise one mixes the channels at each position",
        "{title}：{layer} 作用于 {size}，得到 {out}；深度卷积逐通道处理，"
        "再由逐点卷积在每个位置混合通道",
    ),
}

_SIDE, _CHANNELS, _LONGEST = 22.0, 4, 8
# Channels whose every value is computed: more would make the reader wait.
_MOST = 512


def separable(
    layer: Conv,
    size: Size,
    *,
    values: Any = None,
    depthwise: Any = None,
    pointwise: Any = None,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw the depthwise separable form of a convolution: depthwise, then pointwise.

    Sifre & Mallat 2014; Howard et al. 2017 (MobileNet, arXiv:1704.04861).

    Args:
        layer: the standard convolution that is replaced, `Conv(m, n, k)` of one or two axes.
        size: the spatial size of the input, an int, or one per axis.
        values: the input, shaped (m, *size).
        depthwise: its weight, shaped (m, 1, *kernel_size).
        pointwise: its weight, shaped (n, m, 1, 1), or (n, m, 1) on one axis.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: another layer, a size without output, or arrays of another shape.

    >>> import convsmith as cs
    >>> scene = separable(cs.Conv(3, 4, 3), 5)
    >>> scene, scene.panel("middle0").size, scene.panel("output3").size
    (Scene('separable', 14 panels, 18 steps), (3, 3), (3, 3))
    """
    check_dress(language, theme)
    if not isinstance(layer, Conv) or layer.groups > 1 or layer.dims > 2:
        raise ArgumentError(f"a Conv of one group and 1 or 2 axes is made separable, not {layer!r}")
    if layer.in_channels > _MOST:
        raise ArgumentError(f"at most {_MOST} input channels can be drawn, not {layer.in_channels}")
    check_extent(layer)
    lengths = drawn_size(size, layer.dims)
    pair = _Separable(layer, lengths, values, depthwise, pointwise)
    return dressed(pair.scene(), language, theme)


class _Separable:
    def __init__(
        self, layer: Conv, size: tuple[int, ...], values: Any, depthwise: Any, pointwise: Any
    ) -> None:
        self.layer, self.size = layer, size
        self.outputs = layer.output_size(size)
        first, second = layer.depthwise(), layer.pointwise()
        padded = [n + sum(w.padding) for n, w in zip(size, layer.windows, strict=True)]
        shown = tuple(
            outs if length <= _LONGEST else min(outs, max(1, (_LONGEST - w.extent) // w.stride + 1))
            for w, length, outs in zip(layer.windows, padded, self.outputs, strict=True)
        )
        seen = [
            length if outs == every else (outs - 1) * w.stride + w.extent
            for length, outs, every, w in zip(
                padded, shown, self.outputs, layer.windows, strict=True
            )
        ]
        self.shown: At3 = lift(shown)
        self.ground = Ground(
            maps_of(values, (layer.in_channels, *size)),
            lift_windows(layer.windows),
            lift(size),
            lift(seen),
            layer.padding_mode,
            dims=layer.dims,
        )
        self.each = kernels_of(depthwise, first.weight_shape)
        mix = kernels_of(pointwise, second.weight_shape)
        # The usual numbers would make sums that no cell has room for.
        self.mix = mix if pointwise is not None else lambda o, c: _halved(mix(o, c))
        self.ins = range(min(layer.in_channels, _CHANNELS))
        self.outs = range(min(layer.out_channels, _CHANNELS))
        windows = self.ground.windows
        spatial = Conv(
            layer.in_channels,
            layer.in_channels,
            tuple(w.kernel for w in windows),
            tuple(w.stride for w in windows),
            0,
            tuple(w.dilation for w in windows),
            layer.in_channels,
        )
        channels = range(layer.in_channels)
        image = self.ground.padded(channels)
        self.middle = evaluate(spatial, image, [[self.each(c, 0)] for c in channels])
        mixing = Conv(layer.in_channels, len(self.outs), 1, dims=3)
        weight = [[self.mix(o, c) for c in channels] for o in self.outs]
        self.found = evaluate(mixing, self.middle, weight)

    def scene(self) -> Scene:
        layer = self.layer
        panels, symbols = arranged(self._columns(), 3)
        steps = [self._spatial(at) for at in grid(self.shown)]
        steps += [self._mixing(at) for at in grid(self.shown)]
        title = text("title.separable")
        described = text("describe.separable", title=title, layer=repr(layer.separable()),
                         size=by(self.size), out=by(self.outputs))  # fmt: skip
        return Scene(
            "separable", title, described, panels, tuple(steps), tuple(self._notes()), symbols
        )

    def _notes(self) -> list[Text]:
        layer = self.layer
        m, n, taps = layer.in_channels, layer.out_channels, layer.taps
        each, mix, whole = taps * m, m * n, taps * m * n
        ratio = layer.cost_ratio()
        notes = [
            facts(layer, self.size),
            text("fact.separable", each=each, mix=mix, sum=each + mix, whole=whole),
            text("fact.ratio", outs=n, taps=taps, ratio=number(ratio), times=number(1 / ratio)),
        ]
        if self.shown != lift(self.outputs):
            at = self.shown[3 - layer.dims :]
            notes.append(text("fact.crop", shown=by(at), whole=by(self.outputs)))
        if (len(self.ins), len(self.outs)) != (m, n):
            notes.append(text("fact.crop_channels", ins=len(self.ins), all_ins=m,
                              outs=len(self.outs), all_outs=n))  # fmt: skip
        return notes

    def _columns(self) -> list[Stack]:
        one = self.layer.in_channels == 1
        labels = [
            text("panel.input", size=by(self.size)) if one else channel_label(c) for c in self.ins
        ]
        inputs = [
            replace(panel, side=_SIDE)
            for panel in self.ground.panels(self.ins, lift(self.outputs), labels)
        ]
        _, rows, columns = self.ground.windows
        kernels = []
        for c in self.ins:
            kernel = self.each(c, 0)[0]
            cells = [
                Cell(at, kernel[at[0] // rows.dilation][at[1] // columns.dilation])
                if not (at[0] % rows.dilation or at[1] % columns.dilation)
                else Cell(at, None, "gap")
                for at in grid((rows.extent, columns.extent))
            ]
            label = text("panel.depthwise", size=by(self.layer.kernel_size)) if not c else None
            kernels.append(
                _panel(f"depthwise{c}", "kernel", (rows.extent, columns.extent), cells, label)
            )
        size = self.shown[1:]
        middles = [
            _panel(f"middle{c}", "partial", size, map(Cell, grid(size)),
                   text("panel.middle_channel", number=c))
            for c in self.ins
        ]  # fmt: skip
        mix = _panel(
            "pointwise", "kernel", (len(self.ins), len(self.outs)),
            [Cell((c, o), pick(self.mix(o, c), (0, 0, 0))) for c in self.ins for o in self.outs],
            text("panel.pointwise", size=by([1] * self.layer.dims)),
        )  # fmt: skip
        outputs = [
            _panel(f"output{o}", "output", size, map(Cell, grid(size)), channel_label(o))
            for o in self.outs
        ]
        return [
            Stack(tuple((panel,) for panel in inputs)),
            Stack(tuple((panel,) for panel in kernels), "\u2217"),
            Stack(tuple((panel,) for panel in middles), "="),
            Stack(((mix,),), "×"),
            Stack(tuple((panel,) for panel in outputs), "="),
        ]

    def _spatial(self, at: At3) -> Step:
        marks = self.ground.marks(self.ins, at)
        marks += [Mark(f"middle{c}", "current", (at[1:],)) for c in self.ins]
        values = {c: pick(self.middle[c], at) for c in self.ins}
        writes = tuple(Write(f"middle{c}", at[1:], value) for c, value in values.items())
        return Step(
            text("caption.depthwise", values=self._listed("z", values, at)), tuple(marks), writes
        )

    def _mixing(self, at: At3) -> Step:
        place: At = at[1:]
        values = {o: pick(self.found[o], at) for o in self.outs}
        marks = [Mark(f"middle{c}", "window", (place,)) for c in self.ins]
        marks += [Mark(f"output{o}", "current", (place,)) for o in self.outs]
        ends = ((0, 0), (len(self.ins) - 1, len(self.outs) - 1))
        marks.append(Mark("pointwise", "active", ends))
        writes = tuple(Write(f"output{o}", place, value) for o, value in values.items())
        return Step(
            text("caption.pointwise", values=self._listed("y", values, at)), tuple(marks), writes
        )

    def _listed(self, name: str, values: dict[int, Any], at: At3) -> str:
        place = at[3 - self.layer.dims :]
        return ", ".join(f"{named(place, c, name)} = {factor(v)}" for c, v in values.items())


def _halved(kernel: Any) -> Any:
    """A kernel of one tap, 1 to 3, as 0 or 1."""
    return [[[kernel[0][0][0] // 2]]]


def _panel(name: str, role: str, size: Sequence[int], cells: Any, label: Text | None) -> Panel:
    return Panel(name, role, (size[0], size[1]), tuple(cells), label=label, side=_SIDE)


def _command(
    size: Input = "5",
    kernel: Kernel = "3",
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    channels: Channels = "3:4",
    dims: Dims = None,
    areas: Annotated[
        bool, Option("Draw the cost against the standard form, as areas, instead.")
    ] = False,
    values: Values = None,
) -> Scene:
    """Draw a depthwise separable convolution: depthwise, then pointwise."""
    named = named_axes(dims, size, kernel, stride, dilation, padding=padding)
    lengths, axes = planar(size, named)
    both = parse_channels(channels, 1)
    layer: Any = build_layer(axes, kernel, stride, padding, dilation, both)
    if areas:
        return cost_areas(layer)
    return separable(layer, lengths, values=optional_values(values, lengths, both[0]))


COMMANDS = (Command("separable", _command),)

EXAMPLES = (
    Example("separable", "channels", "Depthwise, then pointwise: 3×5×5 to 4×3×3",
            "先深度后逐点：3×5×5 到 4×3×3", partial(separable, Conv(3, 4, 3), 5)),
    Example("separable_exercise", "channels", "The exercise: 3×128×128 to 10×126×126",
            "练习：3×128×128 到 10×126×126", partial(separable, Conv(3, 10, 3), 128)),
    Example("separable", "channels", "Separable, the last step as PNG", "可分离卷积最后一步（PNG）",
            partial(separable, Conv(3, 4, 3), 5), ".png", order=90),
)  # fmt: skip
