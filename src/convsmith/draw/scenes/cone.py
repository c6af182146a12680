# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""What one output value is computed from, layer by layer, down to the input: the cone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import floor
from typing import Annotated, Any

from convsmith.arithmetic import Chain, Conv, Pool
from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.layout import LEGIBLE, side_for
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.ways import Ways, shades, ways_back
from convsmith.draw.stacks import STACK, parse_stack
from convsmith.draw.storyboard import Cell, Link, Mark, Panel, Step, Write
from convsmith.draw.words import Text, Words, text
from convsmith.errors import ArgumentError

__all__ = ["COMMANDS", "EXAMPLES", "WORDS", "cone"]

WORDS: Words = {
    "title.cone": ("What one output value reads", "一个输出值读取什么"),
    "panel.after": ("after layer {number}", "第 {number} 层之后"),
    "layer.conv": (
        "convolution of {kernel} taps, stride {stride}, dilation {dilation}",
        "卷积核 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "layer.max": (
        "max pool of {kernel}, stride {stride}, dilation {dilation}",
        "最大池化 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "layer.average": (
        "average pool of {kernel}, stride {stride}, dilation {dilation}",
        "平均池化 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "fact.stack": (
        "kernels {kernels} · strides {strides} · dilations {rates}",
        "卷积核 {kernels} · 步幅 {strides} · 空洞率 {rates}",
    ),
    "fact.field": (
        "receptive field {span}, of which {seen} positions are read",
        "感受野 {span}，读 {seen}/{span} 个位置",
    ),
    "fact.holes": (
        "positions never read: {count} (gridding)",
        "{count} 个位置从未读取：网格效应",
    ),
    "caption.cone": (
        "layer {number}, a {what}: reads {seen} of {span} positions",
        "第 {number} 层，{what}：读 {seen}/{span} 个位置",
    ),
    "caption.cone_done": (
        "{seen} of {span} input positions, reached in {ways} ways",
        "读 {seen}/{span} 个输入位置，共 {ways} 条路径",
    ),
    "describe.cone": (
        "{title}: through {count} layers one output value reads {seen} of the {span} positions of "
        "its receptive field; each shows in how many ways it is reached",
        "{title}：经过 {count} 层，一个输出值读感受野中的 {seen}/{span} 个位置；"
        "每个位置标出到达它的路径数",
    ),
}

# Positions that fit beside one another, lines that can be told apart, pixels between two maps.
_WIDEST, _LINES, _ROPE, _NAMES, _ROOM = 120, 300, 44.0, 96.0, 430.0
_LAYERS = 12


def cone(
    layers: Sequence[Conv | Pool] | Chain,
    *,
    axis: int = -1,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw what one output value of a stack reads, from map to map down to the input.

    Every position shows in how many ways the output reaches it; those never reached are hatched.
    The maps go on beyond their borders: padding is not told apart from values.

    Args:
        layers: in the order of the network, the first reads the input.
        axis: the one of the layers' axes that is drawn.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no layers, too many, a transposed one, or a field too wide to draw.

    >>> import convsmith as cs
    >>> scene = cone([cs.Conv(1, 1, 3)] * 3)
    >>> scene, list(scene.values("map0").values())
    (Scene('cone', 8 panels, 5 steps), [1, 3, 6, 7, 6, 3, 1])
    """
    check_dress(language, theme)
    stack = _stack(layers, axis)
    reached = ways_back(stack, axis)
    start, stop = min(reached[-1]), max(reached[-1]) + 1
    if stop - start > _WIDEST:
        raise ArgumentError(
            f"a field of {stop - start} positions is too wide for a cone: at most {_WIDEST}"
        )
    maps = _maps(stack, axis, reached, start, stop)
    title = text("title.cone")
    seen, span = len(reached[-1]), stop - start
    described = text("describe.cone", title=title, count=len(stack), seen=seen, span=span)
    notes = [_stack_fact(stack, axis), text("fact.field", seen=seen, span=span)]
    if seen < span:
        notes.append(text("fact.holes", count=span - seen))
    steps = _steps(stack, axis, reached, maps)
    panels = tuple(panel for pair in maps for panel in pair)
    return dressed(Scene("cone", title, described, panels, steps, tuple(notes)), language, theme)


def _stack(layers: Iterable[Any], axis: int) -> tuple[Conv | Pool, ...]:
    stack = tuple(layers)
    if not 1 <= len(stack) <= _LAYERS:
        raise ArgumentError(f"a cone is drawn through 1 to {_LAYERS} layers, not {len(stack)}")
    for layer in stack:
        if not isinstance(layer, (Conv, Pool)):
            raise ArgumentError(f"a cone is drawn through convolutions and pools, not {layer!r}")
        if not -layer.dims <= axis < layer.dims:
            raise ArgumentError(f"axis {axis} of {layer!r}, which has {layer.dims}")
    return stack


def _maps(
    stack: Sequence[Conv | Pool], axis: int, reached: Sequence[Ways], start: int, stop: int
) -> list[tuple[Panel, Panel]]:
    """One row of cells per map, the output first, each with its name at the left."""
    side = min(26.0, side_for(stop - start, _ROOM))
    # Where position 0 of each map lies over the input, and how far its neighbour is from it.
    places = [(0.0, 1)]
    for layer in stack:
        window = layer.windows[axis]
        centre, jump = places[-1]
        reach = (window.extent - 1) / 2 - window.padding[0]
        places.append((centre + reach * jump, jump * window.stride))
    rows = []
    y = 0.0
    for index, (centre, jump) in enumerate(reversed(places)):
        ways = reached[index]
        low = -floor((centre - start) / jump)
        high = floor((stop - 1 - centre) / jump)
        final = index == len(stack)
        hull = range(min(ways), max(ways) + 1)
        cells = [
            Cell((0, (position - low) * jump), None,
                 "hole unread" if position in hull and position not in ways
                 else "" if position in hull else "outside")
            for position in range(low, high + 1)
        ]  # fmt: skip
        x = _NAMES + (centre + low * jump - start) * side
        size = (1, (high - low) * jump + 1)
        number = len(stack) - index
        name = (
            text("panel.the_input") if final
            else text("panel.the_output") if not index
            else text("panel.after", number=number)
        )  # fmt: skip
        middle = y + side / 2 + 10
        rows.append((
            Panel(f"name{number}", "blank", (1, 1), (), _NAMES / 2 - 28, middle, name, 40.0),
            Panel(f"map{number}", "blank", size, tuple(cells), x, y, None, side),
        ))  # fmt: skip
        y += side + _ROPE
    return rows


def _steps(
    stack: Sequence[Conv | Pool],
    axis: int,
    reached: Sequence[Ways],
    maps: Sequence[tuple[Panel, Panel]],
) -> tuple[Step, ...]:
    numbers = maps[-1][1].side >= LEGIBLE
    steps = []
    lowest = []
    for index in range(len(maps)):
        _, panel = maps[index]
        # The cells of a row are in order; the first stands for the lowest position drawn.
        jump = panel.cells[1].at[1] if len(panel.cells) > 1 else 1
        hull = [cell for cell in panel.cells if cell.role != "outside"]
        lowest.append((min(reached[index]), hull[0].at[1], jump))

    def place(index: int, position: int) -> tuple[int, int]:
        first, column, jump = lowest[index]
        return (0, column + (position - first) * jump)

    marks: list[Mark] = []
    kept: list[Link] = []
    for index, ways in enumerate(reached):
        _, panel = maps[index]
        most = max(ways.values())
        marks += shades(panel.name, {place(index, p): n for p, n in ways.items()}, most)
        writes = tuple(Write(panel.name, place(index, p), n) for p, n in ways.items() if numbers)
        if index:
            layer = stack[len(stack) - index]
            window = layer.windows[axis]
            above = maps[index - 1][1].name
            links = [
                Link((above, place(index - 1, p)), (panel.name, place(index, at)))
                for p in reached[index - 1]
                for tap in range(window.kernel)
                for at in [p * window.stride - window.padding[0] + tap * window.dilation]
            ]
            kept += links if len(kept) + len(links) <= _LINES else []
        steps.append(Step(_caption(stack, axis, index, ways), tuple(marks), writes, tuple(kept)))
    ways = reached[-1]
    span = max(ways) - min(ways) + 1
    done = text("caption.cone_done", seen=len(ways), span=span, ways=sum(ways.values()))
    steps.append(Step(done, tuple(marks), (), tuple(kept)))
    return tuple(steps)


def _caption(stack: Sequence[Conv | Pool], axis: int, index: int, ways: Ways) -> Text:
    if not index:
        return text("caption.cone_start")
    layer = stack[len(stack) - index]
    return text(
        "caption.cone",
        number=len(stack) - index + 1,
        what=_layer(layer, axis),
        seen=len(ways),
        span=max(ways) - min(ways) + 1,
    )


def _layer(layer: Conv | Pool, axis: int) -> Text:
    window = layer.windows[axis]
    kind = layer.kind if isinstance(layer, Pool) else "conv"
    return text(f"layer.{kind}", kernel=window.kernel, stride=window.stride,
                dilation=window.dilation)  # fmt: skip


def _stack_fact(stack: Sequence[Conv | Pool], axis: int) -> Text:
    kernels = [layer.windows[axis].kernel for layer in stack]
    strides = [layer.windows[axis].stride for layer in stack]
    rates = [layer.windows[axis].dilation for layer in stack]
    return text("fact.stack", kernels=", ".join(map(str, kernels)),
                strides=", ".join(map(str, strides)),
                rates=", ".join(map(str, rates)))  # fmt: skip


def _command(
    layers: Annotated[
        list[str], Option(f"First layer first: {STACK}.", metavar="LAYER…", argument=True)
    ],
) -> Scene:
    """Draw what one output value of a stack reads, from map to map."""
    return cone(parse_stack(layers))


COMMANDS = (Command("cone", _command),)


def _rates(*rates: int) -> list[Conv]:
    return [Conv(1, 1, 3, dilation=rate) for rate in rates]


EXAMPLES = (
    Example("cone", "field", "Three 3×3 layers read 7 positions", "三个 3×3 层读取 7 个位置",
            partial(cone, _rates(1, 1, 1))),
    Example("cone_dilated", "field", "Dilations 1, 2, 4: 15 positions, no hole",
            "空洞率 1、2、4：15 个位置，没有漏读", partial(cone, _rates(1, 2, 4))),
    Example("cone_gridding", "field", "Dilations 2, 2, 2 leave holes: gridding",
            "空洞率 2、2、2 会漏读：网格效应", partial(cone, _rates(2, 2, 2))),
    Example("cone_pooling", "field", "A pool doubles what comes after", "池化使其后的步距加倍",
            partial(cone, [Conv(1, 1, 3), Pool(2), Conv(1, 1, 3), Conv(1, 1, 3)])),
)  # fmt: skip
