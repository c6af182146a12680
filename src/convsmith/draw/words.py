# ruff: noqa: RUF001 (Chinese stops are meant)
"""Every word that a scene shows, in English and Chinese side by side; numbers are parameters.

>>> say(text("title.dilated"), "en"), say(text("title.dilated"), "zh")
('Dilated convolution', '空洞卷积')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convsmith.arithmetic.normalise import choice
from convsmith.draw.words_further import FURTHER
from convsmith.errors import ArgumentError, nearest

__all__ = ["LANGUAGES", "WORDS", "Text", "joined", "say", "text"]

LANGUAGES = ("en", "zh")

_JOINED = "joined"

# One word a notion, the same in every picture, page and lesson.
WORDS: dict[str, tuple[str, str]] = {
    # Names of layers
    "title.standard": ("Convolution", "卷积"),
    "title.grouped": ("Grouped convolution", "分组卷积"),
    "title.depthwise": ("Depthwise convolution", "深度卷积"),
    "title.pointwise": ("Pointwise convolution", "逐点卷积"),
    "title.separable": ("Depthwise separable convolution", "深度可分离卷积"),
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
    "fact.same_output": (
        "a stride-{stride} convolution makes {small} of {first} and of {last}; "
        "output padding {extra} means\u00a0{meant}",
        "步幅 {stride} 的卷积把 {first} 和 {last} 都变成 {small}；输出填充 {extra} 指的是 {meant}",
    ),
    # Panels
    "panel.input": ("input {size}", "输入 {size}"),
    "panel.channel": ("channel {number}", "通道 {number}"),
    "panel.slice": ("slice {number}", "切片 {number}"),
    "panel.kernel": ("kernel {size}", "卷积核 {size}"),
    "panel.kernel_number": ("kernel {number}", "卷积核 {number}"),
    "panel.flipped": ("kernel, turned", "翻转的卷积核"),
    "panel.partial": ("partial", "部分和"),
    "panel.bias": ("bias", "偏置"),
    "panel.rest": ("{count} more", "其余 {count}"),
    "panel.stamp": ("stamp", "印章"),
    "panel.output": ("output {size}", "输出 {size}"),
    "panel.group": ("group {number}", "第 {number} 组"),
    "panel.expanded": ("input, zeros between", "插零后的输入"),
    # Legend
    "legend.window": ("read now", "正在读取"),
    "legend.current": ("computed now", "正在计算"),
    "legend.stamped": ("added now", "正在累加"),
    "legend.kept": ("the output", "输出"),
    "legend.padding": ("padding", "填充"),
    "legend.unread": ("never read", "从未读取"),
    "legend.source": ("copied from here", "由此复制"),
    "legend.shade": ("the stronger, the more", "颜色越深越多"),
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
    "caption.channels": (
        "{place} = {formula}, summed over the channels",
        "{place} = {formula}，各通道求和",
    ),
    "caption.values": ("{values}", "{values}"),
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
    "caption.stamp": (
        "{place} = {value}: {value} times the kernel is added to the output",
        "{place} = {value}：把 {value} 倍的卷积核加到输出上",
    ),
    "caption.done": (
        "The output: padding cuts off the rim",
        "输出：填充裁去了边缘",
    ),
    # Descriptions, read out
    "describe.slide": (
        "{title}: {layer} on {size} gives {out}; the window moves over the input, and each "
        "position gives one output value",
        "{title}：{layer} 作用于 {size}，得到 {out}；窗口在输入上滑动，每个位置给出一个输出值",
    ),
    "describe.stamp": (
        "{title}: {layer} on {size} gives {out}; each input value stamps its multiple of the "
        "kernel onto the output, and overlapping stamps add up",
        "{title}：{layer} 作用于 {size}，得到 {out}；每个输入值把卷积核的倍数印到输出上，重叠相加",
    ),
    "describe.zeros": (
        "{title}: {layer} on {size} gives {out}; zeros are put between the input values, and the "
        "turned kernel slides over them with stride 1",
        "{title}：{layer} 作用于 {size}，得到 {out}；在输入值之间插入零，翻转的卷积核以步幅 1 滑动",
    ),
    # Controls of the page
    "control.play": ("Play", "播放"),
    "control.pause": ("Pause", "暂停"),
    "control.back": ("Step back", "上一步"),
    "control.next": ("Step", "下一步"),
    "control.step": ("Step {number} of {count}", "第 {number} 步，共 {count} 步"),
    "control.position": ("Position", "位置"),
    **FURTHER,
}


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is said in a language only when it is shown; parameters may be texts again."""

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

    >>> say(joined(text("fact.stride", size=2), text("fact.kernel", size="3×3")), "en")
    'stride 2 · kernel 3×3'
    """
    return Text(_JOINED, tuple((str(index), part) for index, part in enumerate(parts)))


def say(words: Text | str, language: str) -> str:
    """Say a text in a language; what is already said, such as a number, stays as it is.

    Raises:
        ArgumentError: a language other than those in `LANGUAGES`.

    >>> say(text("panel.input", size="5×5"), "zh")
    '输入 5×5'
    """
    choice("language", language, LANGUAGES)
    if isinstance(words, str):
        return words
    parameters = {
        name: say(value, language) if isinstance(value, Text) else value
        for name, value in words.parameters
    }
    if words.key == _JOINED:
        return " · ".join(parameters.values())
    return WORDS[words.key][LANGUAGES.index(language)].format(**parameters)
