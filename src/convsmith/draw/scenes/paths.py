# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""In how many ways dilated layers in series read each pixel, the holes, and the repair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from convsmith.arithmetic import Conv
from convsmith.arithmetic.normalise import count
from convsmith.draw.example import Example
from convsmith.draw.layout import GAP, LABEL, LEGIBLE, side_for
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.values import grid
from convsmith.draw.scenes.ways import Ways, shades, ways_back
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step, Write
from convsmith.draw.words import Words, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import percent

__all__ = ["EXAMPLES", "WORDS", "paths"]

WORDS: Words = {
    "title.paths": ("Ways from one output value to each pixel", "从一个输出值到每个像素的路径数"),
    "panel.rates": ("rates {rates}", "空洞率 {rates}"),
    "fact.covered": (
        "rates {rates}: {seen} of {every} pixels read ({share})",
        "空洞率 {rates}：读 {seen}/{every} 个像素（{share}）",
    ),
    "caption.paths": (
        "layers back: {count}; the number of ways to each pixel",
        "往回追溯 {count} 层：到每个像素的路径数",
    ),
    "describe.paths": (
        "{title}: convolutions of rates {rates} in series; each pixel shows in how many ways it is "
        "reached, and pixels that are never read are hatched",
        "{title}：空洞率 {rates} 的卷积串联；每个像素标出到达它的路径数，从未读取的像素用斜线标出",
    ),
}

_LAYERS, _WIDEST, _ROOM = 12, 41, 500.0


def paths(
    rates: Sequence[int],
    kernel_size: int = 3,
    *,
    repair: Sequence[int] | None = None,
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw in how many ways convolutions in series read each pixel of their field, and the holes.

    Equal rates above 1 leave holes, which is called gridding (Wang et al. 2018,
    arXiv:1702.08502); rates without a common factor beside them may leave none.

    Args:
        rates: the dilations, first layer first.
        kernel_size: taps of each layer, along both axes.
        repair: other rates, drawn beside the first.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no rates, one below 1, or a field too wide to draw.

    >>> scene = paths([2, 2, 2], repair=[1, 2, 3])
    >>> sorted(set(scene.values("rates").values()), key=str)
    [1, 18, 21, 3, 36, 42, 49, 6, 7, 9, None]
    """
    check_dress(language, theme)
    tried = [tuple(rates), *([tuple(repair)] if repair else [])]
    count("kernel_size", kernel_size)
    panels: list[Panel] = []
    notes = []
    frames: list[list[tuple[tuple[Mark, ...], tuple[Write, ...]]]] = []
    x = 0.0
    spans = []
    for each in tried:
        if not 1 <= len(each) <= _LAYERS:
            raise ArgumentError(f"1 to {_LAYERS} rates can be drawn, not {list(each)}")
        for rate in each:
            count("rate", rate)
        spans.append((kernel_size - 1) * sum(each) + 1)
    if max(spans) > _WIDEST:
        raise ArgumentError(
            f"a field of {max(spans)}×{max(spans)} is too large to draw: at most {_WIDEST}"
        )
    side = side_for(sum(spans) + 1, _ROOM)
    for name, each, span in zip(("rates", "repair"), tried, spans, strict=False):
        stack = tuple(Conv(1, 1, kernel_size, dilation=rate, dims=1) for rate in each)
        ways = ways_back(stack, 0)
        drawn = [_plane(centred, span) for centred in _centred(ways, span)]
        last = drawn[-1]
        cells = tuple(
            Cell(at, None, "" if at in last else "hole unread") for at in grid((span, span))
        )
        label = text("panel.rates", rates=", ".join(map(str, each)))
        top = LABEL + (max(spans) - span) * side / 2
        panels.append(Panel(name, "blank", (span, span), cells, x, top, label, side))
        x += span * side + GAP
        share = percent(len(last) / span**2)
        notes.append(text("fact.covered", rates=", ".join(map(str, each)), seen=len(last),
                          every=span**2, share=share))  # fmt: skip
        before = [{}, *drawn]
        frames.append([
            _shown(name, plane, gone.keys() - plane.keys(), side >= LEGIBLE)
            for plane, gone in zip(drawn, before, strict=False)
        ])  # fmt: skip
    longest = max(map(len, frames))
    steps = []
    for index in range(longest):
        both = [each[min(index, len(each) - 1)] for each in frames]
        steps.append(
            Step(
                text("caption.paths", count=index) if index else text("caption.cone_start"),
                tuple(mark for marks, _ in both for mark in marks),
                tuple(write for _, writes in both for write in writes),
            )
        )
    title = text("title.paths")
    described = text("describe.paths", title=title, rates=", ".join(map(str, rates)))
    scene = Scene("paths", title, described, tuple(panels), tuple(steps), tuple(notes))
    return dressed(scene, language, theme)


def _centred(ways: Sequence[Ways], span: int) -> list[Ways]:
    """The ways at each step, counted from where the whole field begins."""
    return [
        {p - min(each) + (span - (max(each) - min(each) + 1)) // 2: n for p, n in each.items()}
        for each in ways
    ]


def _plane(ways: Ways, span: int) -> dict[At, int]:
    return {(r, c): a * b for r, a in ways.items() for c, b in ways.items()}


def _shown(
    name: str, plane: dict[At, int], gone: Iterable[At], numbers: bool
) -> tuple[tuple[Mark, ...], tuple[Write, ...]]:
    most = max(plane.values())
    marks = tuple(shades(name, plane, most))
    if not numbers:
        return marks, ()
    # An even kernel does not read what lies under its middle.
    empty = tuple(Write(name, at, None) for at in sorted(gone))
    return marks, (*empty, *(Write(name, at, n) for at, n in plane.items()))


EXAMPLES = (
    Example("paths", "field", "Ways to each pixel: 2, 2, 2 and the repair 1, 2, 3",
            "到每个像素的路径数：2、2、2 与修复 1、2、3",
            partial(paths, [2, 2, 2], repair=[1, 2, 3])),
    Example("paths_five", "field", "The same with 5 taps: 2, 2 and 1, 3",
            "五个权重时：2、2 与 1、3", partial(paths, [2, 2], 5, repair=[1, 3])),
)  # fmt: skip
