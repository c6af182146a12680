# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Dense, grouped and depthwise beside one another: which channels reach which."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from convsmith.arithmetic import Conv
from convsmith.arithmetic.normalise import Size
from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.layout import LABEL
from convsmith.draw.options import Kernel, parse_size
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.storyboard import Cell, Link, Mark, Panel, Step
from convsmith.draw.words import Words, text
from convsmith.errors import ArgumentError

__all__ = ["COMMANDS", "EXAMPLES", "WORDS", "mixing"]

WORDS: Words = {
    "title.mixing": (
        "Dense, grouped, depthwise: which channels mix",
        "标准、分组、深度卷积：哪些通道混合",
    ),
    "kind.standard": ("dense", "标准"),
    "kind.grouped": ("grouped", "分组"),
    "kind.depthwise": ("depthwise", "深度"),
    "panel.ins": ("in", "输入"),
    "panel.outs": ("out", "输出"),
    "panel.count": ("{count} weights", "{count} 个权重"),
    "fact.mixing": (
        "{ins} → {outs} channels, kernel {size}; a cell of the grid is a kernel slice of {taps} "
        "weights",
        "{ins} → {outs} 通道，卷积核 {size}；网格中一格是含 {taps} 个权重的卷积核切片",
    ),
    "caption.mixing": (
        "output {number} reads: all {dense} inputs · {grouped} of its group · its own",
        "输出 {number} 读取：全部 {dense} 个输入 · 本组的 {grouped} 个 · 仅自己的 1 个",
    ),
    "caption.mixing_all": (
        "weights: dense {dense}, grouped {grouped}, depthwise {depthwise}",
        "权重数：标准 {dense}，分组 {grouped}，深度 {depthwise}",
    ),
    "describe.mixing": (
        "{title}: a dense convolution joins every input channel to every output channel, a "
        "grouped one joins them within {groups} groups, a depthwise one joins each to one",
        "{title}：标准卷积连接所有输入与输出通道，分组卷积只在 {groups} 个组内连接，"
        "深度卷积一一对应",
    ),
}

_MOST, _SIDE, _ROPE, _BETWEEN = 8, 24.0, 74.0, 44.0
_KINDS = ("standard", "grouped", "depthwise")


def mixing(
    channels: int = 4,
    groups: int = 2,
    kernel_size: Size = 3,
    *,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw a dense, a grouped and a depthwise convolution of as many channels in one row.

    Under each stands its weight as a grid: one row per output channel, one column per input
    channel, and in each cell the kernel slice that joins them.

    Args:
        channels: in and out, at most 8.
        groups: of the one in the middle.
        kernel_size: an int, or one per axis.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: too many channels, or groups that do not divide them.

    >>> mixing(4, groups=2)
    Scene('mixing', 12 panels, 5 steps)
    """
    check_dress(language, theme)
    layers = [Conv(channels, channels, kernel_size, groups=g, bias=False)
              for g in (1, groups, channels)]  # fmt: skip
    if not 2 <= channels <= _MOST:
        raise ArgumentError(f"2 to {_MOST} channels can be drawn, not {channels}")
    panels: list[Panel] = []
    x = 0.0
    for kind, layer in zip(_KINDS, layers, strict=True):
        each = layer.in_channels // layer.groups
        column = tuple(Cell((c, 0), c, f"tone{c // each % 4}") for c in range(channels))
        size = (channels, 1)
        wide = 2 * _SIDE + _ROPE
        below = LABEL + channels * _SIDE + LABEL + 18
        slices = tuple(
            Cell((o, i), layer.taps, f"tone{i // each % 4}")
            if i // each == o // each
            else Cell((o, i), None, "zero")
            for o in range(channels)
            for i in range(channels)
        )
        side = min(_SIDE, wide / channels)
        label = text("panel.count", count=layer.params)
        panels += [
            Panel(f"{kind}.name", "input", (1, 1), (), x + wide / 2 - 10, LABEL,
                  text(f"kind.{kind}"), 20.0),
            Panel(f"{kind}.in", "input", size, column, x, LABEL, text("panel.ins"), _SIDE),
            Panel(f"{kind}.out", "output", size, column, x + _SIDE + _ROPE, LABEL,
                  text("panel.outs"), _SIDE),
            Panel(f"{kind}.weight", "kernel", (channels, channels), slices,
                  x + (wide - channels * side) / 2, below, label, side, label_below=True),
        ]  # fmt: skip
        x += wide + _BETWEEN
    steps = [_step(layers, (o,)) for o in range(channels)]
    steps.append(_step(layers, tuple(range(channels))))
    title = text("title.mixing")
    described = text("describe.mixing", title=title, groups=groups)
    notes = (text("fact.mixing", ins=channels, outs=channels, size=by(layers[0].kernel_size),
                  taps=layers[0].taps),)  # fmt: skip
    scene = Scene("mixing", title, described, tuple(panels), tuple(steps), notes)
    return dressed(scene, language, theme)


def _step(layers: list[Conv], outputs: tuple[int, ...]) -> Step:
    marks: list[Mark] = []
    links: list[Link] = []
    for kind, layer in zip(_KINDS, layers, strict=True):
        each = layer.in_channels // layer.groups
        for o in outputs:
            first = o // each * each
            read = range(first, first + each)
            links += [Link((f"{kind}.in", (i, 0)), (f"{kind}.out", (o, 0))) for i in read]
            if len(outputs) == 1:
                marks += [
                    Mark(f"{kind}.in", "window", tuple((i, 0) for i in read)),
                    Mark(f"{kind}.out", "current", ((o, 0),)),
                    Mark(f"{kind}.weight", "active", tuple((o, i) for i in read)),
                ]
    if len(outputs) > 1:
        dense, grouped, depthwise = (layer.params for layer in layers)
        caption = text("caption.mixing_all", dense=dense, grouped=grouped, depthwise=depthwise)
    else:
        dense, grouped, _ = (layer.in_channels // layer.groups for layer in layers)
        caption = text("caption.mixing", number=outputs[0], dense=dense, grouped=grouped)
    return Step(caption, tuple(marks), (), tuple(links))


def _command(
    channels: Annotated[int, Option("Number of channels in and out, at most 8.")] = 4,
    groups: Annotated[int, Option("Number of groups of the grouped convolution.")] = 2,
    kernel: Kernel = "3x3",
) -> Scene:
    """Draw which channels mix: dense, grouped and depthwise in one row."""
    return mixing(channels, groups, parse_size("--kernel", kernel))


COMMANDS = (Command("mixing", _command),)

EXAMPLES = (
    Example("mixing", "channels", "Dense, grouped, depthwise in one row", "标准、分组、深度并排",
            partial(mixing, 4, 2), order=55),
    Example("mixing_three_groups", "channels", "Six channels, three groups", "六个通道，三个组",
            partial(mixing, 6, 3), order=55),
)  # fmt: skip
