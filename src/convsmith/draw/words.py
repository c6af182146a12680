# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""The words of the pictures, in English and Chinese side by side; numbers are parameters.

Here are the words that several scenes share; a scene that has its own keeps them in `WORDS` of its
file, and they are added here when the scenes are collected.

>>> phrase(text("title.dilated"), "en"), phrase(text("title.dilated"), "zh")
('Dilated convolution', '空洞卷积')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError, nearest

__all__ = ["LANGUAGES", "WORDS", "Text", "Words", "add_words", "joined", "phrase", "text"]

Words = dict[str, tuple[str, str]]
"""Texts by key: English, Chinese."""

LANGUAGES = ("en", "zh")

_JOINED = "joined"

# One word per notion, the same in every picture, page and lesson.
WORDS: Words = {
    # Names of layers
    "title.standard": ("Convolution", "卷积"),
    "title.grouped": ("Grouped convolution", "分组卷积"),
    "title.depthwise": ("Depthwise convolution", "深度卷积"),
    "title.pointwise": ("Pointwise convolution", "逐点卷积"),
    "title.dilated": ("Dilated convolution", "空洞卷积"),
    "title.dilated_depthwise": ("Dilated depthwise convolution", "空洞深度卷积"),
    "title.causal": ("Causal convolution", "因果卷积"),
    "title.transposed": ("Transposed convolution", "转置卷积"),
    "title.max": ("Max pooling", "最大池化"),
    "title.average": ("Average pooling", "平均池化"),
    # Facts under the title
    "fact.kernel": ("kernel {size}", "卷积核 {size}"),
    "fact.window": ("window {size}", "窗口 {size}"),
    "fact.stride": ("stride {size}", "步幅 {size}"),
    "fact.dilation": ("dilation {size}", "空洞率 {size}"),
    "fact.padding": ("padding {size}", "填充 {size}"),
    "fact.output_padding": ("output padding {size}", "输出填充 {size}"),
    "fact.groups": ("{count} groups", "{count} 组"),
    "fact.channels": ("channels {ins} → {outs}", "通道 {ins} → {outs}"),
    "fact.sides1": ("padding {left} left, {right} right", "填充：左 {left}、右 {right}"),
    "fact.sides2": (
        "padding {top} above, {bottom} below, {left} left, {right} right",
        "填充：上 {top}、下 {bottom}、左 {left}、右 {right}",
    ),
    "fact.reflect": ("border mirrored", "边界镜像"),
    "fact.replicate": ("border repeated", "边界复制"),
    "fact.circular": ("border wrapped", "边界循环"),
    "fact.crop": ("a crop: {shown} of {whole}", "局部：{whole} 中的 {shown}"),
    "fact.crop_channels": (
        "shown: {ins} of {all_ins} → {outs} of {all_outs} channels",
        "所示通道：{all_ins} 中的 {ins} → {all_outs} 中的 {outs}",
    ),
    "fact.size": ("size: {formula}", "尺寸：{formula}"),
    # Panels
    "panel.input": ("input {size}", "输入 {size}"),
    "panel.channel": ("channel {number}", "通道 {number}"),
    "panel.slice": ("slice {number}", "切片 {number}"),
    "panel.kernel": ("kernel {size}", "卷积核 {size}"),
    "panel.kernel_number": ("kernel {number}", "卷积核 {number}"),
    "panel.output": ("output {size}", "输出 {size}"),
    "panel.group": ("group {number}", "第 {number} 组"),
    # Legend
    "legend.window": ("read now", "正在读取"),
    "legend.current": ("computed now", "正在计算"),
    "legend.stamped": ("added now", "正在累加"),
    "legend.kept": ("the output", "输出"),
    "legend.padding": ("padding", "填充"),
    "legend.unread": ("never read", "从未读取"),
    "legend.source": ("copied from here", "由此复制"),
    "legend.shade": ("darker: more paths", "颜色越深，路径越多"),
    "legend.veil": ("the clearer, the more", "越清晰权重越大"),
    "legend.zero": ("zero", "零"),
    "legend.tile": ("the tile", "图块"),
    "legend.halo": ("what it reads", "它读取的范围"),
    "legend.field": ("receptive field", "感受野"),
    "legend.wrong": ("wrong without the halo", "缺少重叠边缘时出错"),
    "legend.held": ("held in the buffer", "保存在缓冲区"),
    "legend.fresh": ("written now", "正在写入"),
    "legend.gone": ("overwritten", "已被覆盖"),
    "legend.gap": ("zero between", "间隔的零"),
    "legend.cropped": ("cut off by padding", "被填充裁去"),
    "legend.extra": ("output padding", "输出填充"),
    # Captions
    "caption.formula": ("{place} = {formula}", "{place} = {formula}"),
    "caption.products": (
        "{place} = {value}, the sum of {count} products",
        "{place} = {value}，{count} 个乘积之和",
    ),
    "caption.values": ("{values}", "{values}"),
    # Descriptions, read out
    "describe.slide": (
        "{title}: {layer} on {size} gives {out}; the window moves over the input, and each "
        "position gives one output value",
        "{title}：{layer} 作用于 {size}，得到 {out}；窗口在输入上滑动，每个位置给出一个输出值",
    ),
    # Controls of the page
    "control.play": ("Play", "播放"),
    "control.pause": ("Pause", "暂停"),
    "control.back": ("Step back", "上一步"),
    "control.next": ("Step", "下一步"),
    "control.step": ("Step {number} of {count}", "第 {number} 步，共 {count} 步"),
    "control.position": ("Position", "位置"),
    "panel.the_input": ("input", "输入"),
    "panel.the_output": ("output", "输出"),
    "caption.cone_start": ("One output value", "一个输出值"),
    "value.text": ("{text}", "{text}"),
    # The gallery
    "gallery.title": ("{count} pictures of convolutions", "{count} 幅卷积图"),
    "gallery.about": (
        "Every number is computed by the arithmetic that the package is tested with. A click opens "
        "a picture alone.",
        "每个数字都由软件包经过测试的算术计算得出。点击可单独打开一幅图。",
    ),
}


def add_words(words: Words) -> None:
    """Add the words of a scene to those that can be shown.

    Raises:
        ArgumentError: a key that already stands for something else.
    """
    for key, both in words.items():
        if WORDS.setdefault(key, both) != both:
            raise ArgumentError(f"two scenes have a text {key!r}, and they differ")


@dataclass(frozen=True, slots=True)
class Text:
    """A text that gets its language only when it is shown; parameters may be texts themselves."""

    key: str
    parameters: tuple[tuple[str, Any], ...] = ()


def text(key: str, **parameters: Any) -> Text:
    """Make a `Text`; the key is one of `WORDS`.

    Raises:
        ArgumentError: no such key.
    """
    if key not in WORDS:
        raise ArgumentError(f"there is no text {key!r}{nearest(key, WORDS)}")
    return Text(key, tuple(parameters.items()))


def joined(*parts: Text) -> Text:
    """Texts one after another, with a point between.

    >>> phrase(joined(text("fact.stride", size=2), text("fact.kernel", size="3×3")), "en")
    'stride 2 · kernel 3×3'
    """
    return Text(_JOINED, tuple((str(index), part) for index, part in enumerate(parts)))


def phrase(words: Text | str, language: str) -> str:
    """A text in a language; plain strings, such as numbers, stay as they are.

    Raises:
        ArgumentError: a language other than those in `LANGUAGES`.

    >>> phrase(text("panel.input", size="5×5"), "zh")
    '输入 5×5'
    """
    choice("language", language, LANGUAGES)
    if isinstance(words, str):
        return words
    parameters = {
        name: phrase(value, language) if isinstance(value, Text) else value
        for name, value in words.parameters
    }
    if words.key == _JOINED:
        return " · ".join(parameters.values())
    return WORDS[words.key][LANGUAGES.index(language)].format(**parameters)
