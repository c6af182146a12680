"""Random layers with an input they accept, and the convolution that two factors make."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from convsmith.nn import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConv3d,
    DepthwiseSeparableConvTranspose2d,
)

PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SEPARABLE = {1: DepthwiseSeparableConv1d, 2: DepthwiseSeparableConv2d, 3: DepthwiseSeparableConv3d}
PAIRS = [
    *((SEPARABLE[dims], PLAIN[dims]) for dims in PLAIN),
    (DepthwiseSeparableConvTranspose2d, nn.ConvTranspose2d),
]
MODES = ("zeros", "reflect", "replicate", "circular")
LENGTHS = {1: 40, 2: 13, 3: 6}


def each(draw, dims, low, high):
    """One integer for all axes, or one for each."""
    if draw(st.booleans()):
        return draw(st.integers(low, high))
    return tuple(draw(st.integers(low, high)) for _ in range(dims))


def axes(value, dims):
    return (value,) * dims if isinstance(value, int) else value


@st.composite
def channels(draw):
    """(in, out, groups), groups dividing both."""
    groups = draw(st.integers(1, 3))
    return groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 7)), groups


@st.composite
def convolutions(draw, dims):
    """(arguments of nn.Conv*d, input size), never without output."""
    inputs, outputs, groups = draw(channels())
    kernel = each(draw, dims, 1, 5 if dims < 3 else 3)
    dilation = each(draw, dims, 1, 3)
    mode = draw(st.sampled_from(MODES))
    spans = [d * (k - 1) for k, d in zip(axes(kernel, dims), axes(dilation, dims), strict=True)]
    padding = draw(st.sampled_from(["same", "valid", None]))
    stride = 1 if padding == "same" else each(draw, dims, 1, 4)
    padding = each(draw, dims, 0, 4) if padding is None else padding
    size = []
    for axis, span in enumerate(spans):
        if padding == "same":
            sides = (span // 2, span - span // 2)
        else:
            sides = (0, 0) if padding == "valid" else (axes(padding, dims)[axis],) * 2
        least = {"reflect": max(sides) + 1, "circular": max(sides)}.get(mode, 1)
        least = max(least, span + 1 - sum(sides), 1)
        size.append(draw(st.integers(least, least + LENGTHS[dims])))
    arguments = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": mode,
    }
    return arguments, tuple(size)


@st.composite
def transposed(draw):
    """(arguments of nn.ConvTranspose2d, input size), never without output."""
    inputs, outputs, groups = draw(channels())
    kernel, stride, dilation = (each(draw, 2, 1, 4) for _ in range(3))
    padding = each(draw, 2, 0, 3)
    limits = zip(axes(stride, 2), axes(dilation, 2), strict=True)
    extra = tuple(draw(st.integers(0, max(pair) - 1)) for pair in limits)
    size = []
    columns = (axes(value, 2) for value in (kernel, stride, dilation, padding, extra))
    for k, s, d, p, e in zip(*columns, strict=True):
        missing = 1 - (d * (k - 1) + 1 + e - 2 * p)
        least = 1 + max(0, -(-missing // s))
        size.append(draw(st.integers(least, least + 9)))
    arguments = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "output_padding": extra,
        "groups": groups,
        "bias": draw(st.booleans()),
        "dilation": dilation,
    }
    return arguments, tuple(size)


def product(depthwise, pointwise, groups=1, multiplier=1, transposed=False):
    """The weight of the one convolution that a depthwise and a pointwise one amount to.

    Written from the definition, one output and one input channel at a time, in float64.
    """
    spread = depthwise.detach().double().numpy()
    mix = pointwise.detach().double().numpy().reshape(pointwise.shape[:2])
    kernel = spread.shape[2:]
    kernels = spread.reshape(-1, multiplier, *kernel)
    inputs, outputs = len(kernels) // groups, len(mix) // groups
    weight = np.zeros((groups * outputs, inputs, *kernel))
    for o in range(groups * outputs):
        for i in range(inputs):
            for t in range(multiplier):
                kernel = kernels[o // outputs * inputs + i, t]
                weight[o, i] += mix[o, i * multiplier + t] * kernel
    if transposed:
        parts = [part.swapaxes(0, 1) for part in np.split(weight, groups)]
        weight = np.concatenate(parts)
    return torch.from_numpy(weight)


def distance(actual, expected):
    """Largest difference as a share of the largest expected value."""
    actual, expected = actual.detach(), expected.detach()
    scale = float(expected.abs().max())
    return float((actual - expected).abs().max()) / (scale if scale > 0 else 1.0)
