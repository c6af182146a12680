# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Fused layers that work band by band: which rows of each map a ring buffer holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from convsmith.arithmetic import Window
from convsmith.arithmetic.normalise import count
from convsmith.draw.example import Example
from convsmith.draw.layout import GAP, LABEL
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step, Write
from convsmith.draw.words import Text, Words, joined, text
from convsmith.errors import ArgumentError

__all__ = ["EXAMPLES", "WORDS", "bands"]

WORDS: Words = {
    "title.bands": ("Fused layers, band by band", "逐带计算的融合层"),
    "panel.map": ("map {number}", "特征图 {number}"),
    "panel.ring": ("buffer of {count}", "{count} 行缓冲"),
    "fact.bands": (
        "layers: {count} · output rows at a time: {band} · in all: {rows}",
        "{count} 层，每次输出 {band} 行，共 {rows} 行",
    ),
    "fact.rings": (
        "held between the layers: {slots} rows instead of {rows}",
        "层间保存：{slots} 行，而不是 {rows} 行",
    ),
    "caption.band": ("output rows {rows}", "输出行 {rows}"),
    "caption.held": (
        "map {number} holds rows {rows}, {fresh} new",
        "特征图 {number} 保存行 {rows}，新增 {fresh}",
    ),
    "describe.bands": (
        "{title}: {count} layers make {band} output rows at a time; between them {slots} rows are "
        "held in ring buffers",
        "{title}：{count} 层每次输出 {band} 行；层间的环形缓冲区保存 {slots} 行",
    ),
}

_ROWS, _LAYERS, _SIDE = 24, 4, 22.0


def bands(
    windows: Sequence[Window],
    rows: int,
    *,
    band: int = 1,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw how fused layers make their output in bands of rows, and what is held between them.

    Before each band every layer computes the rows that are missing, into a ring buffer of as many
    rows as are ever needed at once: row r lies in slot r mod length, over one that is done with.

    Args:
        windows: one per layer, along the rows; the first reads the input.
        rows: rows of the input, at most 24.
        band: rows of the output made at a time.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no layers, too many, too many rows, or a size without output.

    >>> scene = bands([Window(3, padding=(1, 1)), Window(1)], 8)
    >>> scene, scene.panel("ring1").size
    (Scene('bands', 4 panels, 8 steps), (1, 1))
    """
    check_dress(language, theme)
    layers = tuple(windows)
    band = count("band", band)
    if not 1 <= len(layers) <= _LAYERS:
        raise ArgumentError(f"1 to {_LAYERS} fused layers can be drawn, not {len(layers)}")
    lengths = [count("rows", rows)]
    for window in layers:
        if not isinstance(window, Window):
            raise ArgumentError(f"each layer is a Window, not {window!r}")
        lengths.append(window.output_length(lengths[-1]))
    if max(lengths) > _ROWS:
        raise ArgumentError(f"{max(lengths)} rows are too many to draw: at most {_ROWS}")
    moments = _run(layers, lengths, band)
    slots = [max(1, *(each.spans[index] for each in moments)) for index in range(len(lengths))]
    panels = _panels(lengths, slots)
    steps = tuple(_step(moment, lengths, slots) for moment in moments)
    title = text("title.bands")
    inner = slots[1:-1]
    described = text("describe.bands", title=title, count=len(layers), band=band,
                     slots=", ".join(map(str, inner)) or "0")  # fmt: skip
    notes = [text("fact.bands", count=len(layers), band=band, rows=lengths[-1])]
    if inner:
        notes.append(text("fact.rings", slots=" + ".join(map(str, inner)),
                          rows=" + ".join(map(str, lengths[1:-1]))))  # fmt: skip
    return dressed(Scene("bands", title, described, panels, steps, tuple(notes)), language, theme)


@dataclass(frozen=True)
class _Moment:
    """One band: of every map, the rows computed for it, those held from before, those given up."""

    output: range
    fresh: tuple[range, ...]
    old: tuple[tuple[int, ...], ...]
    gone: tuple[tuple[int, ...], ...]
    spans: tuple[int, ...]


def _run(layers: Sequence[Window], lengths: Sequence[int], band: int) -> list[_Moment]:
    maps = range(len(lengths))
    done, first = [0] * len(lengths), [0] * len(lengths)
    computed: list[list[int]] = [[] for _ in maps]
    moments = []
    for start in range(0, lengths[-1], band):
        output = need = range(start, min(start + band, lengths[-1]))
        fresh = [range(0)] * len(lengths)
        for index in reversed(maps):
            # What lies before the rows that are read now is never read again.
            first[index] = max(first[index], need.start)
            stop = max(done[index], need.stop)
            fresh[index] = (
                range(max(done[index], first[index]), stop) if need else range(stop, stop)
            )
            done[index] = stop
            if index:
                low, high = layers[index - 1].input_range(fresh[index].start, fresh[index].stop)
                last = lengths[index - 1]
                need = range(min(max(0, low), last), max(0, min(high, last)))
                need = need if fresh[index] else range(first[index - 1], first[index - 1])
        old = [tuple(r for r in rows if r >= at) for rows, at in zip(computed, first, strict=True)]
        gone = [tuple(r for r in rows if r < at) for rows, at in zip(computed, first, strict=True)]
        for rows, new in zip(computed, fresh, strict=True):
            rows += new
        spans = (stop - at for stop, at in zip(done, first, strict=True))
        moments.append(_Moment(output, tuple(fresh), tuple(old), tuple(gone), tuple(spans)))
    return moments


def _panels(lengths: Sequence[int], slots: Sequence[int]) -> tuple[Panel, ...]:
    """The maps side by side, and beside each one between two layers its ring."""
    panels = []
    high = max(lengths) * _SIDE
    x, last = 10.0, len(lengths) - 1
    for index, length in enumerate(lengths):
        label = (
            text("panel.the_input") if not index
            else text("panel.the_output") if index == last
            else text("panel.map", number=index)
        )  # fmt: skip
        cells = tuple(Cell((r, 0), r) for r in range(length))
        y = LABEL + (high - length * _SIDE) / 2
        panels.append(Panel(f"map{index}", "blank", (length, 1), cells, x, y, label, _SIDE))
        x += _SIDE + GAP + 20
        if 0 < index < last:
            label = text("panel.ring", count=slots[index])
            cells = tuple(Cell((r, 0)) for r in range(slots[index]))
            y = LABEL + (high - slots[index] * _SIDE) / 2
            ring = Panel(f"ring{index}", "partial", (slots[index], 1), cells, x, y, label, _SIDE)
            panels.append(ring)
            x += _SIDE + GAP + 20
    return tuple(panels)


def _step(moment: _Moment, lengths: Sequence[int], slots: Sequence[int]) -> Step:
    marks: list[Mark] = []
    writes: list[Write] = []
    captions: list[Text] = [text("caption.band", rows=_span(moment.output))]
    last = len(lengths) - 1
    for index, fresh in enumerate(moment.fresh):
        old = moment.old[index]
        marks += [
            Mark(f"map{index}", "held", _places(old)),
            Mark(f"map{index}", "fresh", _places(fresh)),
            Mark(f"map{index}", "gone", _places(moment.gone[index])),
        ]
        if 0 < index < last:
            places: list[At] = [(r % slots[index], 0) for r in fresh]
            marks.append(Mark(f"ring{index}", "fresh", tuple(places)))
            writes += [Write(f"ring{index}", (r % slots[index], 0), r) for r in fresh]
            held = [*old, *fresh]
            rows = _span(range(held[0], held[-1] + 1) if held else range(0))
            captions.append(text("caption.held", number=index, rows=rows, fresh=len(fresh)))
    return Step(joined(*captions), tuple(marks), tuple(writes))


def _places(rows: Sequence[int]) -> tuple[At, ...]:
    return tuple((r, 0) for r in rows)


def _span(rows: range) -> str:
    if not rows:
        return "–"
    return f"{rows.start}…{rows.stop - 1}" if len(rows) > 1 else str(rows.start)


EXAMPLES = (
    Example("bands", "running", "Two fused layers, band by band", "两个融合层，逐带计算",
            partial(bands, [Window(3, padding=(1, 1)), Window(3, padding=(1, 1))], 10)),
    Example("bands_separable", "running", "A fused separable block: 1×1, 3×3, 1×1",
            "融合的可分离块：1×1、3×3、1×1",
            partial(bands, [Window(1), Window(3, padding=(1, 1)), Window(1)], 12, band=2)),
)  # fmt: skip
