# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Ready-made stages, which the lessons and the documentation show; the command for all stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from convsmith.arithmetic import Conv, ConvTranspose, Pool
from convsmith.draw.command import Command, Option
from convsmith.draw.live.stage import Stage
from convsmith.draw.options import Values, parse_size
from convsmith.draw.reading import optional_values, optional_weight
from convsmith.draw.scenes.stage import stage
from convsmith.draw.scenes.values import kernels_of
from convsmith.draw.stacks import LAYERS, parse_layers
from convsmith.errors import ArgumentError, nearest

__all__ = [
    "COMMANDS",
    "LAYER",
    "STAGES",
    "Channels",
    "Dims",
    "Image",
    "ReadyStage",
    "Size",
    "Title",
    "ready_stage",
    "staged",
]


@dataclass(frozen=True)
class ReadyStage:
    """A stage with a title in both languages, and a question that it answers.

    Attributes:
        english: its title.
        chinese: the same in Chinese.
        question: what a reader may ask before it, in English.
        chinese_question: the same in Chinese.
        build: makes it, given a title.
    """

    english: str
    chinese: str
    question: str
    chinese_question: str
    build: Callable[..., Stage]


def ready_stage(name: str, *, language: str = "en", theme: str = "auto") -> Stage:
    """Make a ready-made stage by its name.

    Raises:
        ArgumentError: no such stage, or an unknown language or theme.

    >>> ready_stage("field")
    Stage(6×6 → 4×4 → 2×2)
    """
    if name not in STAGES:
        raise ArgumentError(f"no ready-made stage is called {name!r}{nearest(name, STAGES)}")
    each = STAGES[name]
    return each.build(title=(each.english, each.chinese), language=language, theme=theme)


def _rates(*rates: int) -> list[Conv]:
    return [Conv(1, 1, 3, padding=rate, dilation=rate) for rate in rates]


def _causal(count: int) -> list[Conv]:
    """Layers of two taps whose dilation doubles from 1 to 512, again and again, as WaveNet's."""
    rates = [2 ** (index % 10) for index in range(count)]
    return [Conv(1, 1, 2, padding=((rate, 0),), dilation=rate, dims=1) for rate in rates]


_IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
_STAMP = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]
# The weights of "dilated", with zeros between them.
_DENSE = kernels_of(None, (1, 1, 3, 3))(0, 0)[0]
_FILLED = [[0 if (r | c) & 1 else _DENSE[r // 2][c // 2] for c in range(5)] for r in range(5)]

STAGES: dict[str, ReadyStage] = {
    "hand": ReadyStage(
        "A convolution by hand", "手算卷积",
        "Where does each number come from?", "每个数是怎么算出来的？",
        partial(stage, Conv(1, 1, 2, padding="same"), 4, values=_IMAGE,
                weights=[[[1, 0], [2, 1]]]),
    ),
    "field": ReadyStage(
        "Two 3×3 layers: 6×6 → 4×4 → 2×2", "两层 3×3：6×6 → 4×4 → 2×2",
        "Is the receptive field 5×5 or 6×6?", "感受野是 5×5 还是 6×6？",
        partial(stage, [Conv(1, 1, 3), Conv(1, 1, 3)], 6),
    ),
    "dilated": ReadyStage(
        "Dilation 2, padding 2: the size stays", "空洞率 2、填充 2：尺寸不变",
        "The field grew; did the map not shrink?", "感受野变大了，特征图没有缩小吗？",
        partial(stage, _rates(2), 7),
    ),
    "filled": ReadyStage(
        "5×5 with zeros between: 3×3 with dilation 2", "中间补零的 5×5：就是空洞率 2 的 3×3",
        "Is dilation the same as a kernel filled with zeros?", "空洞卷积等于给卷积核补零吗？",
        partial(stage, Conv(1, 1, 5, padding=2), 7, weights=[_FILLED]),
    ),
    "gridding": ReadyStage(
        "Dilations 2, 2: holes in the field", "空洞率 2、2：感受野里有漏读",
        "Why are the white cells not read?", "为什么不读白色的格子？",
        partial(stage, _rates(2, 2), 11),
    ),
    "pooling": ReadyStage(
        "A pool between two layers", "两层之间的池化",
        "Why does the field grow faster after a pool?", "为什么池化之后感受野长得更快？",
        partial(stage, [Conv(1, 1, 3, padding=1), Pool(2), Conv(1, 1, 3, padding=1)], 8),
    ),
    "cost": ReadyStage(
        "One output value: k·k·m products", "一个输出值：k·k·m 个乘积",
        "Why does it cost k·k·m·n·h′·w′?", "计算量为什么是 k·k·m·n·h′·w′？",
        partial(stage, Conv(3, 2, 3), 5),
    ),
    "grouped": ReadyStage(
        "Two groups", "分为两组",
        "Are the results of the groups added?", "各组的结果会相加吗？",
        partial(stage, Conv(4, 4, 3, groups=2), 5),
    ),
    "separable": ReadyStage(
        "Depthwise, then pointwise", "先深度卷积，再逐点卷积",
        "Where do the channels meet?", "通道在哪一步相遇？",
        partial(stage, [Conv(3, 3, 3, groups=3), Conv(3, 4, 1)], 5),
    ),
    "transposed": ReadyStage(
        "Transposed: 2×2 → 4×4", "转置卷积：2×2 → 4×4",
        "Which inputs reach an output?", "一个输出由哪些输入得来？",
        partial(stage, ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weights=[_STAMP]),
    ),
    "matrix": ReadyStage(
        "The convolution as a matrix, 4×16", "卷积写成矩阵：4×16",
        "Which entry of the matrix is which weight?", "矩阵里的每个数是哪个权重？",
        partial(stage, Conv(1, 1, 3, bias=False), 4, values=_IMAGE, weights=[_STAMP],
                matrix="matrix"),
    ),
    "matrix_transposed": ReadyStage(
        "The matrix transposed, 16×4", "转置后的矩阵：16×4",
        "Why is it called transposed?", "为什么叫转置卷积？",
        partial(stage, ConvTranspose(1, 1, 3, bias=False), 2, values=[[55, 1], [2, 3]],
                weights=[_STAMP], matrix="matrix"),
    ),
    "im2col": ReadyStage(
        "im2col: the windows as columns", "im2col：把窗口排成列",
        "Where does each column come from?", "每一列从哪里来？",
        partial(stage, Conv(1, 1, 3, bias=False), 4, values=_IMAGE, weights=[_STAMP],
                matrix="im2col"),
    ),
    "checkerboard": ReadyStage(
        "Kernel 3, stride 2: the checkerboard", "卷积核 3、步幅 2：棋盘格",
        "Why do some outputs get more than others?", "为什么有些输出得到的更多？",
        partial(stage, ConvTranspose(1, 1, 3, stride=2), 4, values=[[1] * 4] * 4,
                weights=[[[1] * 3] * 3]),
    ),
    "causal": ReadyStage(
        "Causal layers of dilation 1, 2, 4, 8", "空洞率 1、2、4、8 的因果卷积",
        "How do four layers see 16 values?", "四层怎样看到 16 个值？",
        partial(stage, _causal(4), 16),
    ),
    "wavenet": ReadyStage(
        "WaveNet: 30 layers, dilations 1 to 512", "WaveNet：30 层，空洞率 1 到 512",
        "How far back does one sample look?", "一个采样点能看到多远？",
        partial(stage, _causal(30), 3072),
    ),
    "volume": ReadyStage(
        "Three axes, slice by slice", "三维卷积，逐层切片",
        "What does a kernel read of a volume?", "卷积核在三维数据中读取什么？",
        partial(stage, Conv(1, 1, 2, dims=3), (3, 4, 4)),
    ),
}  # fmt: skip


LAYER = Annotated[
    list[str] | None,
    Option(
        f"First layer first: {LAYERS}. Or one that is ready-made: {', '.join(STAGES)}.",
        metavar="LAYER…",
        argument=True,
    ),
]
Size = Annotated[
    str | None,
    Option("Size of the input, such as 6x6; 6x6 by default.", ("--in",), "ROWSxCOLUMNS"),
]
Channels = Annotated[int, Option("Channels of the input.")]
Dims = Annotated[int | None, Option("1, 2 or 3 axes; by default as many as --in has, or 2.")]
Weights = Annotated[
    str | None,
    Option("Weights: .json, a list with one entry per layer, null for a pool.", metavar="FILE"),
]
Image = Annotated[
    str | None, Option("A photograph that is the input, and lies under it.", metavar="FILE")
]
Title = Annotated[str | None, Option("Title of the page.")]


def staged(
    layers: LAYER,
    size: Size = None,
    channels: Channels = 1,
    dims: Dims = None,
    values: Values = None,
    weights: Weights = None,
    image: Image = None,
    title: Title = None,
) -> Stage:
    """Put layers in series on a live page (.html): touch a cell, see what it reads.

    The maps stand side by side at their true sizes; a cell shows its receptive field, its readers
    and its sum, and inputs and weights can be changed.
    """
    layers = layers or []
    if len(layers) == 1 and layers[0] in STAGES:
        if size or values or weights or image or title or dims or channels != 1:
            raise ArgumentError(f"{layers[0]!r} is ready-made: leave out what would change it")
        return ready_stage(layers[0])
    lengths = parse_size("--in", size or "6x6")
    axes = (lengths,) * (dims or 2) if isinstance(lengths, int) else lengths
    stack = parse_layers(layers, channels, len(axes))
    return stage(
        stack, axes, values=optional_values(values, axes, channels),
        weights=optional_weight(weights, "--weights"), image=image, title=title,
    )  # fmt: skip


COMMANDS = (Command("stage", staged),)
