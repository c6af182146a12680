# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Pooling: the largest value or the mean under a window, each channel on its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from convsmith.arithmetic import Pool, evaluate
from convsmith.draw.example import Example
from convsmith.draw.layout import Stack, arranged
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.crop import check_extent, shown_outputs
from convsmith.draw.scenes.facts import (
    by,
    channel_label,
    factor,
    facts,
    kind_of,
    named,
    size_formula,
)
from convsmith.draw.scenes.ground import Ground, panel_name, side_of
from convsmith.draw.scenes.values import (
    At3,
    grid,
    lift,
    lift_place,
    lift_windows,
    lifted,
    maps_of,
    nested,
    pick,
    plain,
    shape_of,
)
from convsmith.draw.storyboard import Cell, Mark, Panel, Step, Write
from convsmith.draw.words import Text, Words, text

__all__ = ["EXAMPLES", "WORDS", "pooling"]

WORDS: Words = {
    "caption.max": (
        "{place} = max({formula}) =\u00a0{value}",
        "{place} = max({formula}) =\u00a0{value}",
    ),
    "caption.max_many": (
        "{place} = {value}, the largest of {count}",
        "{place} = {value}，{count} 个数中的最大值",
    ),
    "caption.average": (
        "{place} = ({formula}) / {count} =\u00a0{value}",
        "{place} = ({formula}) / {count} =\u00a0{value}",
    ),
    "caption.average_many": (
        "{place} = {value}, the mean of {count}",
        "{place} = {value}，{count} 个数的平均值",
    ),
}

_CHANNELS, _TERMS = 3, 9


def pooling(layer: Pool, size: Sequence[int], values: Any = None) -> Scene:
    """A pool: at each position of the window, one value per channel."""
    check_extent(layer)
    outputs = layer.output_size(tuple(size))
    channels = 1
    if values is not None and len(given := shape_of(plain(values))) == layer.dims + 1:
        channels = given[0]
    shape = (channels, *size)
    image = maps_of(values, shape)
    # In ceil mode the last window may run past the padding.
    padded = [
        max(length + sum(w.padding), (outs - 1) * w.stride + w.extent)
        for length, outs, w in zip(size, outputs, layer.windows, strict=True)
    ]
    shown = shown_outputs(layer.windows, padded, outputs, channels > 1)
    seen = [
        length if outs == every else (outs - 1) * w.stride + w.extent
        for length, outs, every, w in zip(padded, shown, outputs, layer.windows, strict=True)
    ]
    ground = Ground(
        image,
        lift_windows(layer.windows),
        lift(size),
        lift(seen),
        filling=-inf if layer.kind == "max" else 0,
        dims=layer.dims,
    )
    drawn = list(range(min(channels, _CHANNELS if layer.dims < 3 else 1)))
    pooled = {c: lifted(_pooled(layer, partial(image, c), size, seen), layer.dims) for c in drawn}
    notes = [facts(layer, size), size_formula(layer, size)]
    if shown != outputs:
        notes.append(text("fact.crop", shown=by(shown), whole=by(outputs)))
    if len(drawn) < channels:
        notes.append(
            text("fact.crop_channels", ins=len(drawn), all_ins=channels,
                 outs=len(drawn), all_outs=channels)
        )  # fmt: skip
    steps = []
    for at in grid(lift(shown)):
        marks = ground.marks(drawn, at)
        writes = []
        for c in drawn:
            name = panel_name("output", (c,), at[0], layer.dims)
            marks.append(Mark(name, "current", (at[1:],)))
            writes.append(Write(name, at[1:], pick(pooled[c], at)))
        caption = _caption(layer, ground, at, [pick(pooled[c], at) for c in drawn])
        steps.append(Step(caption, tuple(marks), tuple(writes)))
    alone = text("panel.input", size=by(size))
    labels = [channel_label(c) if len(drawn) > 1 else alone for c in drawn]
    panels, symbols = arranged(
        [
            Stack(tuple((panel,) for panel in ground.panels(drawn, lift(outputs), labels))),
            Stack(tuple((panel,) for panel in _outputs(layer, ground, drawn, shown, outputs)), "→"),
        ],
        aligned=2 if layer.dims < 3 else 0,
    )
    title = text(f"title.{kind_of(layer)}")
    description = text(
        "describe.slide", title=title, layer=repr(layer), size=by(size), out=by(outputs)
    )
    return Scene(kind_of(layer), title, description, panels, tuple(steps), tuple(notes), symbols)


def _pooled(
    layer: Pool, plane: Callable[[At3], Any], size: Sequence[int], seen: Sequence[int]
) -> Any:
    """One channel pooled, from as much of it as the shown outputs read, and one window more."""
    room = [
        min(length, shown + w.extent)
        for length, shown, w in zip(size, seen, layer.windows, strict=True)
    ]
    return evaluate(layer, nested(room, lambda at: plane(lift_place(at))))


def _outputs(
    layer: Pool, ground: Ground, drawn: Sequence[int], shown: Sequence[int], outputs: Sequence[int]
) -> list[Panel]:
    depth, *size = lift(shown)
    cells = tuple(Cell(at) for at in grid(size))
    panels = []
    for c in drawn:
        for index in range(depth):
            label = text("panel.output", size=by(outputs))
            if layer.dims == 3:
                label = text("panel.slice", number=index)
            elif len(drawn) > 1:
                label = channel_label(c)
            name = panel_name("output", (c,), index, layer.dims)
            side = side_of(ground.size, layer.dims)
            panels.append(Panel(name, "output", (size[0], size[1]), cells, label=label, side=side))
    return panels


def _caption(layer: Pool, ground: Ground, at: At3, values: Sequence[Any]) -> Text:
    place = at[3 - layer.dims :]
    if len(values) > 1:
        listed = ", ".join(f"{named(place, c)} = {factor(v)}" for c, v in enumerate(values))
        return text("caption.values", values=listed)
    value = factor(values[0])
    places = ground.reads(at)
    if layer.kind == "average":
        counted = [
            p
            for p in places
            if ground.is_real(p) or (layer.count_include_pad and _inside(ground, p))
        ]
    else:
        counted = [p for p in places if ground.is_real(p)]
    many = len(counted) > _TERMS or not counted
    joint = " + " if layer.kind == "average" else ", "
    # A value and the place that it has in its own map.
    formula = joint.join(factor(ground.value(0, p)) for p in counted)
    return text(
        f"caption.{layer.kind}" + "_many" * many,
        place=named(place),
        value=value,
        count=len(counted),
        formula=formula,
    )


def _inside(ground: Ground, at: At3) -> bool:
    """Whether a place is within the padding; what lies beyond it does not count."""
    return all(
        place < length + sum(w.padding)
        for place, length, w in zip(at, ground.length, ground.windows, strict=True)
    )


_PAPER = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]

EXAMPLES = (
    Example("numerical_average_pooling", "arithmetic", "Average pooling with numbers",
            "带数值的平均池化",
            partial(pooling, Pool(3, 1, kind="average"), (5, 5), _PAPER), order=90),
    Example("numerical_max_pooling", "arithmetic", "Max pooling with numbers",
            "带数值的最大池化", partial(pooling, Pool(3, 1), (5, 5), _PAPER), order=90),
    Example("max_pool", "pooling", "Max pool of 2", "2×2 的最大池化",
            partial(pooling, Pool(2), (6, 6))),
    Example("average_pool", "pooling", "Average pool with padding", "有填充的平均池化",
            partial(pooling, Pool(3, 2, 1, kind="average"), (5, 5))),
    Example("ceil_pool", "pooling", "Rounded up, the last window runs over the edge",
            "向上取整时最后的窗口越过边缘", partial(pooling, Pool(2, ceil_mode=True), (5, 5))),
)  # fmt: skip
