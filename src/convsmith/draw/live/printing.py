"""A stage in print: the same maps as a scene, which every picture format can be made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, prod
from typing import Any, Protocol

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.arithmetic.window import source_index
from convsmith.draw.layout import Stack, arranged
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.ways import shades
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step
from convsmith.draw.words import Text, text
from convsmith.errors import ArgumentError
from convsmith.text import times

__all__ = ["printed"]

# Values that a picture has room for, outputs that its steps go through, pixels across.
_CELLS, _STEPS, _ROOM = 2500, 36, 900.0

Place = tuple[int, ...]
"""The channel, then the position along each axis."""

Layer = Conv | ConvTranspose | Pool


class Staged(Protocol):
    """What is printed of a stage."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In the order of the network."""

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial size of the input."""

    @property
    def title(self) -> tuple[str, str] | None:
        """In English and in Chinese, where it has one of its own."""

    @property
    def theme(self) -> str:
        """`auto`, `light` or `dark`."""

    def maps(self) -> list[Any]:
        """The values of every map."""

    def to_dict(self) -> dict[str, Any]:
        """The stage as plain data."""


def printed(stage: Staged, language: str) -> Scene:
    """A stage as a scene: each step lights up what one value of the output reads, map by map.

    Args:
        stage: of one or two axes; the steps go through the first channel of its output.
        language: of the title, where that is the user's own.

    Raises:
        ArgumentError: three axes, or too many values to print.
    """
    dims = len(stage.size)
    maps = stage.maps()
    shapes = [tuple(_shape(values, dims + 1)) for values in maps]
    cells = sum(map(prod, shapes))
    if dims == 3 or cells > _CELLS:
        why = "three axes" if dims == 3 else f"{cells:,} values, and at most {_CELLS:,} are printed"
        raise ArgumentError(f"a stage is printed from one or two axes: this one has {why}")
    # Of one axis the maps lie below one another, else beside.
    across = max if dims == 1 else sum
    side = max(6.0, min(34.0, int(2 * _ROOM / across(shape[-1] + 2 for shape in shapes)) / 2))
    columns = [_column(stage, at, maps[at], shapes, side) for at in range(len(maps))]
    if dims == 1:
        columns = [Stack(tuple((panel,) for each in columns for row in each.rows for panel in row))]
    panels, symbols = arranged(columns, folds=False)
    if dims == 1:  # the same position of two maps stands at the same place
        lefts = [_sides(stage, at)[-1][0] for at in range(len(maps))]
        offsets = {_panel(at, c): max(lefts) - left for at, left in enumerate(lefts)
                   for c in range(shapes[at][0])}  # fmt: skip
        panels = tuple(each.moved(offsets[each.name] * side, each.y) for each in panels)
    title = text("print.text", text=stage.title[language == "zh"]) if stage.title else _title(stage)
    sizes = " → ".join(map(times, shapes))
    described = text("stage.label", sizes=sizes)
    return Scene(
        "stage", title, described, panels, tuple(_steps(stage, shapes)),
        (text("print.text", text=sizes),), symbols, language=language, theme=stage.theme,
    )  # fmt: skip


def _title(stage: Staged) -> Text:
    if len(stage.layers) > 1:
        return text("stage.layers", count=len(stage.layers))
    return text(f"title.{stage.to_dict()['layers'][0]['name']}")


def _shape(values: Any, axes: int) -> Iterator[int]:
    for _ in range(axes):
        yield len(values)
        values = values[0]


def _column(stage: Staged, at: int, values: Any, shapes: Sequence[Place], side: float) -> Stack:
    """A map with its padding, its channels under one another in as many columns as they need."""
    channels, *size = shapes[at]
    high, wide = (1, *size)[-2:]
    last = at == len(stage.layers)
    role = "input" if not at else "output" if last else "partial"
    name = (
        text("panel.the_input") if not at
        else text("panel.the_output") if last
        else text("stage.map", number=at)
    )  # fmt: skip
    (top, bottom), (left, right) = [(0, 0), *_sides(stage, at)][-2:]
    planes = []
    for channel in range(channels):
        plane = values[channel] if len(size) > 1 else [values[channel]]
        cells = [
            Cell((y, x), plane[y - top][x - left])
            if 0 <= y - top < high and 0 <= x - left < wide else Cell((y, x), None, "padding")
            for y in range(top + high + bottom) for x in range(left + wide + right)
        ]  # fmt: skip
        area = (top + high + bottom, left + wide + right)
        label = name if not channel else None
        planes.append(Panel(_panel(at, channel), role, area, tuple(cells), label=label, side=side))
    room = max(1, int(_ROOM / 2 / (planes[0].height + 16)))
    across = 1 if len(size) == 1 else ceil(channels / room)
    rows: list[tuple[Panel | None, ...]] = []
    for first in range(0, channels, across):
        row: list[Panel | None] = list(planes[first : first + across])
        rows.append((*row, *[None] * (across - len(row))))
    return Stack(tuple(rows), sign="→" if at else "")


def _sides(stage: Staged, at: int) -> list[tuple[int, int]]:
    """What is put around a map, low and high along each axis."""
    if at == len(stage.layers) or stage.layers[at].transposed:
        return [(0, 0)] * len(stage.size)
    return list(stage.layers[at].padding)


def _panel(at: int, channel: int) -> str:
    return f"map{at}.{channel}"


def _steps(stage: Staged, shapes: Sequence[Place]) -> Iterator[Step]:
    last = shapes[-1]
    places = [(0, *at) for at in _positions(last[1:])]
    few = min(_STEPS, len(places))
    chosen = {round(i * (len(places) - 1) / max(1, few - 1)) for i in range(few)}
    for index in sorted(chosen):
        yield _step(stage, shapes, places[index])


def _positions(size: Sequence[int]) -> Iterator[Place]:
    if not size:
        yield ()
        return
    for first in range(size[0]):
        for rest in _positions(size[1:]):
            yield (first, *rest)


def _step(stage: Staged, shapes: Sequence[Place], place: Place) -> Step:
    """What one value reads, with the number of paths as the strength of the shade."""
    end = len(stage.layers)
    marks = [Mark(_panel(end, place[0]), "current", (_at(stage, end, place),))]
    paths = {place: 1}
    for at in reversed(range(end)):
        before: dict[Place, int] = {}
        for reader, count in paths.items():
            for source in _read(stage.layers[at], shapes[at], shapes[at + 1], reader):
                before[source] = before.get(source, 0) + count
        paths = before
        most = max(paths.values(), default=1)
        by_channel: dict[int, dict[At, int]] = {}
        for source, count in paths.items():
            by_channel.setdefault(source[0], {})[_at(stage, at, source)] = count
        for channel, counts in sorted(by_channel.items()):
            marks += shades(_panel(at, channel), counts, most)
    return Step(_caption(stage, paths), tuple(marks))


def _caption(stage: Staged, paths: dict[Place, int]) -> Text:
    read = {at for _, *rest in paths for at in [tuple(rest)]}
    if not read:
        return text("stage.field_none")
    spans = [max(axis) - min(axis) + 1 for axis in zip(*read, strict=True)]
    return text(
        "stage.field", box=times(spans), input=times(stage.size), read=len(read),
        every=prod(spans), paths=f"{sum(paths.values()):,}",
    )  # fmt: skip


def _at(stage: Staged, at: int, place: Place) -> At:
    """The cell of a place, past the padding at its left and top."""
    offsets = [low for low, _ in _sides(stage, at)]
    row, column = (0, *(p + o for p, o in zip(place[1:], offsets, strict=True)))[-2:]
    return row, column


def _read(layer: Layer, shape: Place, after: Place, place: Place) -> Iterator[Place]:
    """Every place that a value is computed from, once per path."""
    groups = shape[0] if isinstance(layer, Pool) else layer.groups
    ins, outs = shape[0] // groups, after[0] // groups
    first = place[0] // outs * ins
    along = [
        list(_along(layer, axis, shape[axis + 1], place[axis + 1])) for axis in range(layer.dims)
    ]
    for channel in range(first, first + ins):
        for index in _positions([len(each) for each in along]):
            yield (channel, *(each[i] for each, i in zip(along, index, strict=True)))


def _along(layer: Layer, axis: int, length: int, output: int) -> Iterator[int]:
    window = layer.windows[axis]
    for tap in range(window.kernel):
        if layer.transposed:
            place = output + window.padding[0] - tap * window.dilation
            if place % window.stride == 0 and 0 <= place // window.stride < length:
                yield place // window.stride
            continue
        place = output * window.stride - window.padding[0] + tap * window.dilation
        source = source_index(place, length, getattr(layer, "padding_mode", "zeros"))
        if source is not None:
            yield source
