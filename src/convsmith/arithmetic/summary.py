# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Tables in plain text: what each parameter of a convolution does, and what one costs."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from convsmith.arithmetic.convolution import Conv
from convsmith.arithmetic.normalise import Size, choice, per_axis
from convsmith.arithmetic.transposed import ConvTranspose
from convsmith.text import times

__all__ = ["parameter_table", "summary"]

# A text is one for both languages, or English and Chinese.
_Words = str | tuple[str, str]

_PARAMETERS: list[tuple[_Words, ...]] = [
    (("parameter", "参数"), ("values", "取值"), ("default", "默认"), ("what it does", "作用"),
     ("weights", "权重"), ("output", "输出")),
    ("in_channels", "m ≥ 1", "",
     ("maps that come in; a kernel has m / groups slices",
      "输入的特征图数；卷积核有 m / groups 个切片"),
     "× m", ""),
    ("out_channels", "n ≥ 1", "",
     ("maps that come out, one kernel each", "输出的特征图数，每张有一个卷积核"),
     "× n", ("n maps", "n 张")),
    ("kernel_size", ("k or (k, k)", "k 或 (k, k)"), "",
     ("taps of the kernel per axis", "卷积核沿每个轴的权重数"), "× k·k", "- (k - 1)"),
    ("stride", ("s or (s, s)", "s 或 (s, s)"), "1",
     ("step of the kernel", "卷积核每次移动的距离"), "", "÷ s"),
    ("padding", ("p, sides, 'same', 'valid'", "p、各边、'same'、'valid'"), "0",
     ("positions added around the map", "在特征图四周补上的位置"), "", "+ 2·p"),
    ("dilation", ("d or (d, d)", "d 或 (d, d)"), "1",
     ("distance between taps", "相邻权重之间的距离"), "", "- d·(k - 1)"),
    ("groups", ("g divides m and n", "g 整除 m 和 n"), "1",
     ("parts of the channels that never mix", "通道分成的组数，各组互不混合"), "÷ g", ""),
    ("bias", ("True, False", "True、False"), "True",
     ("one number added to each output map", "给每张输出特征图加一个数"), "+ n", ""),
    ("padding_mode", ("zeros, reflect, …", "zeros、reflect……"), "zeros",
     ("what the padding holds", "填充里放什么"), "", ""),
    ("output_padding", ("below s (transposed)", "小于 s（转置卷积）"), "0",
     ("which of several sizes", "在几种尺寸中选哪一种"), "", ("+ itself", "+ 它本身")),
]  # fmt: skip

_LANGUAGES = ("en", "zh")


def parameter_table(language: str = "en") -> str:
    """Every parameter of a convolution: values, default, meaning, effect on weights and output.

    Args:
        language: `en` or `zh`.

    >>> print(parameter_table().splitlines()[3].split("  ")[0])
    kernel_size
    """
    return _aligned([[_in(language, cell) for cell in row] for row in _PARAMETERS])


def summary(
    layer: Conv | ConvTranspose, input_size: Size, batch: int = 1, language: str = "en"
) -> str:
    """One convolution on one input, as a table: sizes, parameters, operations, bytes.

    Args:
        layer: a convolution or transposed convolution.
        input_size: the spatial size of the input.
        batch: images at a time.
        language: `en` or `zh`.

    >>> print(summary(Conv(3, 10, 3), 128))
    Conv(3, 10, kernel_size=3)
    input              1 × 3 × 128 × 128
    output             1 × 10 × 126 × 126
    weight             10 × 3 × 3 × 3
    parameters         280
    MACs               4,286,520
    MACs on values     4,286,520
    FLOPs              8,731,800
    bytes, at least    832,768
    separable          0.2111 of the MACs
    """
    size = per_axis("input_size", input_size, layer.dims)
    shape = (batch, layer.in_channels, *size)
    sign = " × "
    rows: list[tuple[_Words, _Words]] = [
        (("input", "输入"), times(shape, sign)),
        (("output", "输出"), times(layer.output_shape(shape), sign)),
        (("weight", "权重"), times(layer.weight_shape, sign)),
        (("parameters", "参数量"), f"{layer.params:,}"),
        (("MACs", "乘加次数"), f"{layer.macs(size, batch):,}"),
        (("MACs on values", "其中不在填充上"), f"{layer.real_macs(size, batch):,}"),
        ("FLOPs", f"{layer.flops(size, batch):,}"),
        (("bytes, at least", "字节数，至少"), f"{layer.bytes_moved(size, batch):,}"),
    ]
    if isinstance(layer, Conv):
        ratio = f"{float(layer.cost_ratio()):.4f}"
        rows.append((("separable", "改为可分离"), (f"{ratio} of the MACs", f"乘加次数的 {ratio}")))
    words = [[_in(language, cell) for cell in row] for row in rows]
    return f"{layer!r}\n{_aligned(words, gap=4)}"


def _in(language: str, words: _Words) -> str:
    at = _LANGUAGES.index(choice("language", language, _LANGUAGES))
    return words if isinstance(words, str) else words[at]


def _aligned(rows: Sequence[Sequence[str]], gap: int = 2) -> str:
    widths = [max(map(_width, column)) + gap for column in zip(*rows, strict=True)]
    lines = (
        "".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _width(text: str) -> int:
    """The columns that a text takes in a terminal: a Chinese character takes two."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)
