# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A rewrite on one card: what was before, what is after, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import Any

from convsmith.arithmetic import Conv
from convsmith.draw.example import Example
from convsmith.draw.layout import LABEL
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import check_dress, dressed
from convsmith.draw.storyboard import Cell, Panel, Step
from convsmith.draw.words import Text, Words, text
from convsmith.errors import ArgumentError
from convsmith.report.formats import bytes_, milliseconds, number, percent, short

__all__ = ["EXAMPLES", "WORDS", "card"]

WORDS: Words = {
    "title.card": ("Before and after: {name}", "改写前后：{name}"),
    "title.card_plain": ("Before and after", "改写前后"),
    "metric.params": ("parameters", "参数"),
    "metric.macs": ("MACs", "乘加次数"),
    "metric.flops": ("FLOPs", "浮点运算"),
    "metric.bytes": ("bytes", "字节"),
    "metric.memory": ("peak memory", "峰值内存"),
    "metric.milliseconds": ("time", "时间"),
    "metric.latency": ("latency", "延迟"),
    "metric.accuracy": ("accuracy", "准确率"),
    "metric.miou": ("mean IoU", "平均交并比"),
    "metric.agreement": ("agreement", "一致率"),
    "value.before": ("before {value}", "之前 {value}"),
    "value.after": ("after {value}", "之后 {value}"),
    "value.less": ("{times} times less", "减少到 1/{times}"),
    "value.more": ("{times} times more", "增加到 {times} 倍"),
    "value.same": ("the same", "不变"),
    "value.none": ("no factor", "无倍数"),
    "value.points": ("{points} points", "{points} 个百分点"),
    "caption.card": ("{count} figures, before and after", "{count} 项指标，改写前后"),
    "describe.card": ("{title}: {told}", "{title}：{told}"),
}

_LONG, _HIGH, _UNIT, _MOST = 240, 14, 1.0, 10
_NAME, _VALUE = 80.0, 90.0
_FORMATS = {
    "milliseconds": milliseconds,
    "latency": milliseconds,
    "accuracy": percent,
    "miou": percent,
    "agreement": percent,
    "bytes": lambda value: bytes_(int(value)),
    "memory": lambda value: bytes_(int(value)),
}


def card(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    name: str = "",
    language: str = "en",
    theme: str = "auto",
) -> Scene:
    """Draw what a rewrite changed: two bars for each figure, and the factor between them.

    Args:
        before: figures by name. `params`, `macs`, `flops`, `bytes`, `memory`, `milliseconds`,
            `latency` (in ms), `accuracy`, `miou` and `agreement` (shares of one) are known and
            shown in either language; any other name is shown as it is.
        after: the same figures.
        name: what was rewritten.
        language: `en` or `zh`.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: different names before and after, or a figure below 0 or not a number.

    >>> card({"params": 25557032, "milliseconds": 41.2}, {"params": 4120000, "milliseconds": 17.9})
    Scene('card', 12 panels, 1 steps)
    """
    check_dress(language, theme)
    if not 1 <= len(before) <= _MOST or set(before) != set(after):
        raise ArgumentError(
            f"a card compares the same 1 to {_MOST} figures: {sorted(before)}, {sorted(after)}"
        )
    panels: list[Panel] = []
    y = 0.0
    changes = []
    for key, old in before.items():
        new = after[key]
        for value in (old, new):
            if not isinstance(value, Real) or not isfinite(value) or value < 0:
                raise ArgumentError(f"{key} is {value!r}, and a figure is a number of at least 0")
        label = text(f"metric.{key}") if f"metric.{key}" in WORDS else text("value.text", text=key)
        format_: Any = _FORMATS.get(key, short)
        top = y + LABEL
        panels.append(_words(f"{key}.name", label, _NAME / 2, top + _HIGH + 2))
        most = max(old, new) or 1
        for index, (role, value) in enumerate((("kernel", old), ("output", new))):
            high = top + index * (_HIGH + 4)
            long = max(1, round(_LONG * value / most))
            cells = (Cell((0, 0), None, "", (_HIGH, long)),)
            panels.append(Panel(f"{key}.{'after' if index else 'before'}", role, (_HIGH, _LONG),
                                cells, _NAME + 20, high, None, _UNIT))  # fmt: skip
            which = text("value.after" if index else "value.before", value=format_(value))
            x = _NAME + 20 + _LONG + _VALUE
            panels.append(_words(f"{key}.value{index}", which, x, high + _HIGH - 3))
        panels.append(_words(f"{key}.factor", _factor(old, new, key), _NAME + _LONG / 2,
                             top + 2 * _HIGH + 20))  # fmt: skip
        y = top + 2 * _HIGH + 28
        changes.append(f"{key}: {format_(old)} → {format_(new)}")
    title = text("title.card", name=name) if name else text("title.card_plain")
    described = text("describe.card", title=title, told="; ".join(changes))
    step = Step(text("caption.card", count=len(before)))
    return dressed(Scene("card", title, described, tuple(panels), (step,)), language, theme)


def _words(name: str, words: Text, x: float, baseline: float) -> Panel:
    """Words alone, centred at a place."""
    return Panel(name, "blank", (1, 1), (), x - 0.5, baseline + 6, words, 1.0)


def _factor(old: float, new: float, key: str) -> Text:
    if key in ("accuracy", "miou", "agreement"):
        points = 100 * (new - old)
        return text("value.points", points=f"{points:+.1f}".replace("-", "−"))
    if not old or not new or old == new:
        return text("value.same" if old == new else "value.none")
    if new < old:
        return text("value.less", times=number(old / new))
    return text("value.more", times=number(new / old))


def _rewrite() -> Scene:
    """The parameters and multiply-adds of the lesson's table: 3 → 30 channels, kernel 10."""
    layer = Conv(3, 30, 10)
    both = (layer, layer.separable())
    before, after = ({"params": each.params, "macs": each.macs(128)} for each in both)
    return card(before, after, name="3 → 30, 10×10")


EXAMPLES = (Example("card", "running", "Before and after a rewrite", "改写前后", _rewrite),)
