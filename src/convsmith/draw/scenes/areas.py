# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""What a convolution costs against its separable form, as areas."""

from __future__ import annotations

from functools import partial

from convsmith.arithmetic import Conv
from convsmith.draw.example import Example
from convsmith.draw.layout import GAP, LABEL
from convsmith.draw.lettering import text_width
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.scenes.facts import by
from convsmith.draw.storyboard import At, Cell, Mark, Panel, Step
from convsmith.draw.words import Words, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import count, number

__all__ = ["EXAMPLES", "WORDS", "cost_areas"]

WORDS: Words = {
    "title.cost_areas": (
        "Standard against separable: the multiplications",
        "标准卷积与可分离卷积的乘法次数",
    ),
    "panel.area": ("standard: {rows} × {columns}", "标准：{rows} × {columns}"),
    "panel.both": ("separable: {rows} + {columns}", "可分离：{rows} + {columns}"),
    "panel.depthwise_area": ("depthwise: {count}", "深度：{count}"),
    "panel.pointwise_area": ("pointwise: {count}", "逐点：{count}"),
    "fact.cost": (
        "kernel {size}, m = {ins} → n = {outs} channels; areas per input channel and position",
        "卷积核 {size}，m = {ins} → n = {outs} 通道；面积对应每个输入通道和位置",
    ),
    "fact.cost_ratio": ("{times} times fewer: a share of {ratio}", "减少到 1/{times}，即 {ratio}"),
    "caption.cost_standard": (
        "standard: k²·m·n = {taps}·{ins}·{outs} = {value} at each position",
        "标准：每个位置 k²·m·n = {taps}·{ins}·{outs} = {value}",
    ),
    "caption.cost_depthwise": (
        "depthwise: k²·m = {taps}·{ins} = {value}",
        "深度：k²·m = {taps}·{ins} = {value}",
    ),
    "caption.cost_pointwise": (
        "pointwise: m·n = {ins}·{outs} = {value}",
        "逐点：m·n = {ins}·{outs} = {value}",
    ),
    "caption.cost_ratio": (
        "{sum} of {whole}: 1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}, {times} times fewer",
        "{sum}/{whole}：1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}，减少到 1/{times}",
    ),
    "describe.cost_areas": (
        "{title}: {layer}; {whole} multiplications at each position against {sum}",
        "{title}：{layer}；每个位置 {whole} 次乘法，可分离形式 {sum} 次",
    ),
}

_WIDE, _HIGH = 430.0, 190.0


def cost_areas(layer: Conv, *, language: str = "en", theme: str = "auto") -> Scene:
    """Draw the multiplications of a convolution and of its separable form as areas to one scale.

    For each input channel and position the standard form takes k·k·n multiplications: a rectangle
    of k·k rows and n columns. The depthwise half takes k·k, one of its columns, the pointwise one
    n, one of its rows; so the ratio is 1/n + 1/(k·k) (Howard et al. 2017, arXiv:1704.04861).

    Args:
        layer: a `Conv` of one group.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no convolution of one group.

    >>> import convsmith as cs
    >>> cost_areas(cs.Conv(64, 128, 3))
    Scene('cost_areas', 5 panels, 4 steps)
    """
    check_dress(language, theme)
    if not isinstance(layer, Conv) or layer.groups > 1:
        raise ArgumentError(f"areas are drawn for a Conv of one group, not {layer!r}")
    m, n, taps = layer.in_channels, layer.out_channels, layer.taps
    # Rows are made so many times higher that the rectangle is one to look at.
    tall = max(1, round(n * _HIGH / _WIDE / taps))
    broad = max(1, round(tall * taps * _WIDE / _HIGH / n / 2))
    side = round(min(_WIDE / (n * broad), _HIGH / (taps * tall)), 3)
    high, wide = taps * tall, n * broad
    top = LABEL
    below = top + high * side + LABEL + GAP / 2
    panels = (
        Panel("standard", "kernel", (high, wide), (Cell((0, 0), None, "", (high, wide)),),
              0.0, top, text("panel.area", rows=taps, columns=n), side),
        Panel("depthwise", "input", (high, broad), (Cell((0, 0), None, "", (high, broad)),),
              0.0, below, None, side),
        Panel("pointwise", "output", (tall, wide), (Cell((0, 0), None, "", (tall, wide)),),
              0.0, below + high * side + 4, text("panel.both", rows=taps, columns=n), side,
              label_below=True),
        # Beside what they name: the depthwise column is too narrow for a label.
        _name("depthwise", taps, broad * side + GAP / 4, below + high * side / 2),
        _name("pointwise", n, broad * side + GAP / 4, below + high * side - 2),
    )  # fmt: skip
    whole, each, mix = taps * m * n, taps * m, m * n
    ratio = layer.cost_ratio()
    ends: dict[str, tuple[At, At]] = {
        "standard": ((0, 0), (high - 1, wide - 1)),
        "depthwise": ((0, 0), (high - 1, broad - 1)),
        "pointwise": ((0, 0), (tall - 1, wide - 1)),
    }
    captions = [
        text("caption.cost_standard", taps=taps, ins=m, outs=n, value=count(whole)),
        text("caption.cost_depthwise", taps=taps, ins=m, value=count(each)),
        text("caption.cost_pointwise", ins=m, outs=n, value=count(mix)),
        text("caption.cost_ratio", sum=count(each + mix), whole=count(whole), outs=n, taps=taps,
             ratio=number(ratio), times=number(1 / ratio)),
    ]  # fmt: skip
    steps = [
        Step(caption, (Mark(name, "active", ends[name]),))
        for caption, name in zip(captions, ends, strict=False)
    ]
    steps.append(Step(captions[3]))
    title = text("title.cost_areas")
    described = text("describe.cost_areas", title=title, layer=repr(layer), whole=count(whole),
                     sum=count(each + mix))  # fmt: skip
    notes = (
        text("fact.cost", size=by(layer.kernel_size), ins=m, outs=n),
        text("fact.cost_ratio", ratio=number(ratio), times=number(1 / ratio)),
    )
    return dressed(
        Scene("cost_areas", title, described, panels, tuple(steps), notes), language, theme
    )


def _name(half: str, count: int, x: float, y: float) -> Panel:
    """A label that begins at a place."""
    label = text(f"panel.{half}_area", count=count)
    return Panel(f"{half}_name", "input", (1, 1), (), x + text_width(label) / 2, y + 6, label, 1.0)


EXAMPLES = (
    Example("cost", "channels", "Standard against separable as areas, 64 to 128 channels",
            "标准与可分离的面积对比，64 到 128 通道",
            partial(cost_areas, Conv(64, 128, 3)), order=60),
    Example("cost_small", "channels", "The same for 3 to 10 channels", "同上，3 到 10 通道",
            partial(cost_areas, Conv(3, 10, 3)), order=60),
)  # fmt: skip
