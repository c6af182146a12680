# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A transposed convolution as stamps: each input value adds its multiple of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from convsmith.arithmetic import ConvTranspose
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.crop import check_extent
from convsmith.draw.scenes.facts import by, facts, size_formula
from convsmith.draw.scenes.stamps import Stamps
from convsmith.draw.scenes.values import (
    kernels_of,
    maps_of,
    numbers,
)
from convsmith.draw.words import Text, Words, text

__all__ = ["EXAMPLES", "WORDS", "arrays", "stamping"]

WORDS: Words = {
    "fact.same_output": (
        "a stride-{stride} convolution makes {small} of {first} and of {last}; "
        "output padding {extra} means\u00a0{meant}",
        "步幅 {stride} 的卷积把 {first} 和 {last} 都变成 {small}；输出填充 {extra} 指的是 {meant}",
    ),
    "describe.stamp": (
        "{title}: {layer} on {size} gives {out}; each input value stamps its multiple of the "
        "kernel onto the output, and overlapping stamps add up",
        "{title}：{layer} 作用于 {size}，得到 {out}；每个输入值把卷积核的倍数印到输出上，重叠相加",
    ),
}


def arrays(
    layer: ConvTranspose, size: Sequence[int], values: Any, weight: Any, bias: Any
) -> tuple[Any, Any, Any]:
    """What looks up the input and the kernels, the reader's or the usual ones; and the bias."""
    shape = (layer.in_channels, *size)
    image = maps_of(values, shape)
    kernels = kernels_of(weight, layer.weight_shape)
    if bias is not None:
        bias = numbers("bias", bias, (layer.out_channels,), 0)
    return image, kernels, bias


def stamping(
    layer: ConvTranspose,
    size: Sequence[int],
    values: Any = None,
    weight: Any = None,
    bias: Any = None,
) -> Scene:
    """A transposed convolution: a step for each input value, all outputs of its group at once."""
    check_extent(layer)
    outputs = layer.output_size(tuple(size))
    image, kernels, bias = arrays(layer, size, values, weight, bias)
    stamps = Stamps(layer, tuple(size), image, kernels, bias)
    notes = [facts(layer, size), size_formula(layer, size)]
    if same := _same_output(layer, outputs):
        notes.append(same)
    if stamps.cut:
        shown = [
            min(seen, outs)
            for seen, outs in zip(stamps.seen[3 - layer.dims :], outputs, strict=True)
        ]
        notes.append(text("fact.crop", shown=by(shown), whole=by(outputs)))
    ins, outs = len(stamps.channels.inputs), len(stamps.channels.outputs)
    if (ins, outs) != (layer.in_channels, layer.out_channels):
        notes.append(
            text("fact.crop_channels", ins=ins, all_ins=layer.in_channels,
                 outs=outs, all_outs=layer.out_channels)
        )  # fmt: skip
    title = text("title.transposed")
    description = text(
        "describe.stamp", title=title, layer=repr(layer), size=by(size), out=by(outputs)
    )
    panels, symbols = stamps.placed()
    return Scene(
        "transposed", title, description, panels, tuple(stamps.steps()), tuple(notes), symbols
    )


def _same_output(layer: ConvTranspose, outputs: Sequence[int]) -> Text | None:
    """Which sizes the convolution shrinks to the same one; output padding chooses among them."""
    extra = layer.output_padding
    if not any(extra):
        return None
    axis = next(index for index, more in enumerate(extra) if more)
    window, meant = layer.windows[axis], outputs[axis]
    first = meant - extra[axis]
    if first < 1 or window.stride == 1 or extra[axis] >= window.stride:
        return None
    return text(
        "fact.same_output",
        stride=window.stride,
        small=window.output_length(meant),
        first=first,
        last=meant,
        extra=extra[axis],
        meant=meant,
    )


_STAMP = {"values": [[55, 1], [2, 3]], "weight": [[1, 2, 1], [2, 1, 2], [1, 1, 2]]}

EXAMPLES = (
    Example("stamps", "transposed", "Each value stamps its multiple of the kernel",
            "每个值印上卷积核的倍数",
            partial(stamping, ConvTranspose(1, 1, 3), (2, 2), **_STAMP), order=10),
    Example("stamps_stride", "transposed", "Stamps two apart, where stride is 2",
            "步幅 2 时印章相隔两格",
            partial(stamping, ConvTranspose(1, 1, 3, 2), (3, 3)), order=30),
    Example("output_padding_0", "transposed", "Output padding 0: the smaller of two sizes",
            "输出填充 0：两种尺寸中较小者",
            partial(stamping, ConvTranspose(1, 1, 3, 2, 1), (3, 3))),
    Example("output_padding_1", "transposed", "Output padding 1: the larger of two sizes",
            "输出填充 1：两种尺寸中较大者",
            partial(stamping, ConvTranspose(1, 1, 3, 2, 1, 1), (3, 3))),
    Example("transposed_groups", "transposed", "Transposed in two groups", "分两组的转置卷积",
            partial(stamping, ConvTranspose(4, 4, 2, stride=2, groups=2), (2, 2))),
    Example("stamps", "transposed", "The stamps as GIF", "印章（GIF）",
            partial(stamping, ConvTranspose(1, 1, 3), (2, 2), **_STAMP), ".gif", order=90),
)  # fmt: skip
