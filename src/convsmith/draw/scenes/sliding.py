# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Convolutions as a window that slides: groups, dilation, padding, one to three axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from convsmith.arithmetic import Conv
from convsmith.arithmetic.normalise import Size, per_axis
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.crop import (
    check_extent,
    shown_channels,
    shown_outputs,
)
from convsmith.draw.scenes.facts import (
    by,
    facts,
    kind_of,
    size_formula,
)
from convsmith.draw.scenes.ground import Ground
from convsmith.draw.scenes.slide import Slide
from convsmith.draw.scenes.values import (
    kernels_of,
    lift,
    lift_windows,
    maps_of,
    numbers,
)
from convsmith.draw.words import text

__all__ = ["EXAMPLES", "GUIDE", "sliding"]


def sliding(
    layer: Conv, size: Sequence[int], values: Any = None, weight: Any = None, bias: Any = None
) -> Scene:
    """A convolution: at each position of the window one value, from all channels of its group."""
    check_extent(layer)
    outputs = layer.output_size(tuple(size))
    shape = (layer.in_channels, *size)
    if bias is not None:
        bias = numbers("bias", bias, (layer.out_channels,), 0)
    padded = [length + sum(w.padding) for length, w in zip(size, layer.windows, strict=True)]
    shown = shown_outputs(layer.windows, padded, outputs, shown_channels(layer).many)
    whole = shown == outputs
    seen = [
        length if outs == all_outs else (outs - 1) * w.stride + w.extent
        for length, outs, all_outs, w in zip(padded, shown, outputs, layer.windows, strict=True)
    ]
    ground = Ground(
        maps_of(values, shape),
        lift_windows(layer.windows),
        lift(size),
        lift(seen),
        layer.padding_mode,
        dims=layer.dims,
    )
    notes = [facts(layer, size), size_formula(layer, size)]
    if not whole:
        notes.append(text("fact.crop", shown=by(shown), whole=by(outputs)))
    return Slide(
        layer,
        ground,
        lift(shown),
        kernels_of(weight, layer.weight_shape),
        bias,
        kind=kind_of(layer),
        title=text(f"title.{kind_of(layer)}"),
        describe="describe.slide",
        size=tuple(size),
        outputs=outputs,
        input_label=text("panel.input", size=by(size)),
    ).scene(notes)


def _drawn(layer: Conv, size: Size, **arrays: Any) -> Callable[[], Scene]:
    return partial(sliding, layer, per_axis("size", size, layer.dims), **arrays)


_PAPER = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
_KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
_IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]

GUIDE = (
    ("no_padding_no_strides", "No padding, no strides", "无填充，无步幅", Conv(1, 1, 3), 4),
    ("arbitrary_padding_no_strides", "Arbitrary padding, no strides", "任意填充，无步幅",
     Conv(1, 1, 4, padding=2), 5),
    ("same_padding_no_strides", "Half (same) padding, no strides", "半填充（same），无步幅",
     Conv(1, 1, 3, padding=1), 5),
    ("full_padding_no_strides", "Full padding, no strides", "全填充，无步幅",
     Conv(1, 1, 3, padding=2), 5),
    ("no_padding_strides", "No padding, strides", "无填充，有步幅", Conv(1, 1, 3, 2), 5),
    ("padding_strides", "Padding, strides", "有填充，有步幅", Conv(1, 1, 3, 2, 1), 5),
    ("padding_strides_odd", "Padding, strides, a row left over", "有填充，有步幅，余一行",
     Conv(1, 1, 3, 2, 1), 6),
)  # fmt: skip
"""Convolutions that the guide shows both ways, as they are and transposed: name, caption in both
languages, layer, input size (Dumoulin & Visin 2016, arXiv:1603.07285)."""

EXAMPLES = (
    *(
        Example(name, "arithmetic", english, chinese, _drawn(conv, size), order=10 + index)
        for index, (name, english, chinese, conv, size) in enumerate(GUIDE)
    ),
    Example("dilation", "arithmetic", "Dilation 2", "空洞率 2",
            _drawn(Conv(1, 1, 3, dilation=2), 7)),
    Example("numerical_no_padding_no_strides", "arithmetic",
            "With numbers, no padding, no strides", "带数值，无填充，无步幅",
            _drawn(Conv(1, 1, 3), 5, values=_PAPER, weight=_KERNEL)),
    Example("numerical_padding_strides", "arithmetic", "With numbers, padding, strides",
            "带数值，有填充，有步幅",
            _drawn(Conv(1, 1, 3, 2, 1), 5, values=_PAPER, weight=_KERNEL)),
    Example("by_hand", "standard", "A convolution by hand: an even kernel with 'same' pads below "
            "and at the right", "手算卷积：偶数核的 'same' 只在下方和右侧填充",
            _drawn(Conv(1, 1, 2, padding="same", bias=False), 4, values=_IMAGE,
                   weight=[[1, 0], [2, 1]])),
    Example("channels", "standard", "Three channels in, two out: partial sums are added",
            "三个输入通道，两个输出：各通道部分和相加", _drawn(Conv(3, 2, 3), 5)),
    Example("bias", "standard", "A bias is added to every value of its channel",
            "偏置加到其通道的每个值上", _drawn(Conv(2, 2, 3), 4, bias=[10, -5])),
    Example("large", "standard", "A large layer is drawn as a crop that says so",
            "大型层画出局部并注明", _drawn(Conv(64, 128, 3, padding=1), 224)),
    Example("grouped", "channels", "Two groups that never mix", "两组互不混合",
            _drawn(Conv(4, 4, 3, groups=2), 5), order=10),
    Example("depthwise", "channels", "Depthwise: one kernel per channel",
            "深度卷积：每个通道一个核", _drawn(Conv(3, 3, 3, groups=3), 5), order=10),
    Example("multiplier", "channels", "Depthwise with a channel multiplier of 2",
            "通道倍数为 2 的深度卷积", _drawn(Conv(2, 4, 3, groups=2), 4), order=10),
    Example("pointwise", "channels", "Pointwise: 1×1 mixes the channels",
            "逐点卷积：1×1 混合通道", _drawn(Conv(3, 4, 1), 4), order=10),
    Example("dilated_same", "dilated", "Padding equal to the dilation keeps the size",
            "填充等于空洞率时尺寸不变", _drawn(Conv(1, 1, 3, padding=2, dilation=2), 6)),
    Example("dilated_pair", "dilated", "A different dilation along each axis",
            "两个方向空洞率不同", _drawn(Conv(1, 1, 3, dilation=(1, 3)), (5, 9))),
    Example("dilated_depthwise", "dilated", "Dilated depthwise: 3×5×5 stays 3×5×5",
            "空洞深度卷积：3×5×5 保持 3×5×5",
            _drawn(Conv(3, 3, 3, padding=2, dilation=2, groups=3), 5)),
    Example("dilation", "dilated", "Dilation 2 as GIF", "空洞率 2（GIF）",
            _drawn(Conv(1, 1, 3, dilation=2), 7), ".gif"),
    Example("same_even", "padding", "'same' of an even kernel is lopsided",
            "偶数核的 'same' 不对称", _drawn(Conv(1, 1, 4, padding="same"), 5)),
    Example("dropped", "padding", "Pixels that flooring drops", "取整丢弃的像素",
            _drawn(Conv(1, 1, 3, stride=2), 6)),
    Example("stride_gaps", "padding", "A stride larger than the kernel skips pixels",
            "步幅大于核时跳过像素", _drawn(Conv(1, 1, 2, stride=3), 8)),
    Example("reflect", "padding", "A mirrored border", "镜像边界",
            _drawn(Conv(1, 1, 3, padding=1, padding_mode="reflect"), 4)),
    Example("replicate", "padding", "A repeated border", "复制边界",
            _drawn(Conv(1, 1, 3, padding=1, padding_mode="replicate"), 4)),
    Example("circular", "padding", "A border that wraps around", "循环边界",
            _drawn(Conv(1, 1, 3, padding=1, padding_mode="circular"), 4)),
    Example("asymmetric", "padding", "A kernel of 3×2 with stride 1×2", "3×2 的核，步幅 1×2",
            _drawn(Conv(1, 1, (3, 2), stride=(1, 2)), (5, 6))),
    Example("line", "padding", "One axis", "一维", _drawn(Conv(1, 1, 3, padding=1, dims=1), 8)),
    Example("causal", "padding", "Causal: nothing of the future is read", "因果：不读取未来",
            _drawn(Conv(1, 1, 3, padding=((4, 0),), dilation=2, dims=1), 9)),
    Example("volume", "padding", "Three axes, slice by slice", "三维，逐切片",
            _drawn(Conv(1, 1, 2, dims=3), 3)),
)  # fmt: skip
