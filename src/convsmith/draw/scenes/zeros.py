# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""A transposed convolution as an ordinary one: zeros between the values, the kernel turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from convsmith.arithmetic import Conv, ConvTranspose, Window
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.crop import check_extent, shown_channels, shown_outputs
from convsmith.draw.scenes.facts import by, facts, size_formula
from convsmith.draw.scenes.ground import Ground
from convsmith.draw.scenes.slide import Slide
from convsmith.draw.scenes.sliding import GUIDE
from convsmith.draw.scenes.stamping import arrays
from convsmith.draw.scenes.values import At3, lift, lift_windows
from convsmith.draw.words import Words, text

__all__ = ["EXAMPLES", "WORDS", "zeros"]

WORDS: Words = {
    "panel.flipped": ("kernel, turned", "旋转 180° 的卷积核"),
    "panel.expanded": ("input, zeros between", "插零后的输入"),
    "describe.zeros": (
        "{title}: {layer} on {size} gives {out}; zeros are put between the input values, and the "
        "turned kernel slides over them with stride 1",
        "{title}：{layer} 作用于 {size}，得到 {out}；在输入值之间插入零，"
        "旋转 180° 的卷积核以步幅 1 滑动",
    ),
}


def zeros(
    layer: ConvTranspose,
    size: Sequence[int],
    values: Any = None,
    weight: Any = None,
    bias: Any = None,
) -> Scene:
    """A transposed convolution by zero-insertion (Dumoulin & Visin 2016, arXiv:1603.07285)."""
    check_extent(layer)
    outputs = layer.output_size(tuple(size))
    image, kernels, bias = arrays(layer, size, values, weight, bias)
    windows = [Window(w.kernel, 1, (0, 0), w.dilation) for w in layer.windows]
    padded = [outs + w.extent - 1 for outs, w in zip(outputs, windows, strict=True)]
    shown = shown_outputs(windows, padded, outputs, shown_channels(layer).many)
    seen = [
        length if outs == every else outs - 1 + w.extent
        for length, outs, every, w in zip(padded, shown, outputs, windows, strict=True)
    ]
    strides = lift(layer.stride)
    length = [(n - 1) * s + 1 for n, s in zip(lift(size), strides, strict=True)]
    before = [w.extent - 1 - w.padding[0] for w in layer.windows]
    ground = Ground(
        partial(_spread, image, strides),
        lift_windows(windows),
        (length[0], length[1], length[2]),
        lift(seen),
        dims=layer.dims,
        gaps=strides,
        shift=(*[0] * (3 - layer.dims), *before),  # type: ignore[arg-type]
    )
    conv = Conv(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        1,
        0,
        layer.dilation,
        layer.groups,
    )
    notes = [facts(layer, size), size_formula(layer, size)]
    if shown != outputs:
        notes.append(text("fact.crop", shown=by(shown), whole=by(outputs)))
    return Slide(
        conv,
        ground,
        lift(shown),
        partial(_turned, layer, kernels),
        bias,
        kind="transposed_zeros",
        title=text("title.transposed"),
        describe="describe.zeros",
        size=tuple(size),
        outputs=outputs,
        input_label=text("panel.expanded"),
        kernel_label="panel.flipped",
        layer_text=repr(layer),
    ).scene(notes)


def _spread(image: Callable[[int, At3], Any], strides: At3, channel: int, at: At3) -> Any:
    """The value at a place among zeros."""
    if any(place % stride for place, stride in zip(at, strides, strict=True)):
        return 0
    depth, row, column = (place // stride for place, stride in zip(at, strides, strict=True))
    return image(channel, (depth, row, column))


def _turned(
    layer: ConvTranspose, kernels: Callable[[int, int], Any], output: int, channel: int
) -> Any:
    """A kernel of the ordinary convolution: in and out exchanged, every axis reversed."""
    ins = layer.in_channels // layer.groups
    outs = layer.out_channels // layer.groups
    return _reversed(kernels(output // outs * ins + channel, output % outs), 3)


def _reversed(kernel: Any, axes: int) -> Any:
    return [_reversed(item, axes - 1) for item in kernel[::-1]] if axes else kernel


def _back(conv: Conv, size: int) -> Scene:
    """The transposed convolution from the size of a convolution's output back to its input's."""
    (window, *_), (small, _) = conv.windows, conv.output_size(size)
    left_over = (size + sum(window.padding) - window.extent) % window.stride
    return zeros(conv.transpose(left_over), (small, small))


EXAMPLES = (
    *(
        Example(f"{name}_transposed", "arithmetic", f"{english}, transposed", f"{chinese}，转置",
                partial(_back, conv, size), order=10 + index)
        for index, (name, english, chinese, conv, size) in enumerate(GUIDE)
    ),
    Example("transposed_zeros", "transposed", "The same with zeros put between", "同上，插入零",
            partial(zeros, ConvTranspose(1, 1, 3, 2), (3, 3)), order=40),
)  # fmt: skip
