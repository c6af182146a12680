"""Convolutions and pools on a part of a map: padding is what lies beyond the map's own border."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.arithmetic import Conv, ConvTranspose, Pool, Window
from convsmith.tiling.crops.call import Call, Question
from convsmith.tiling.crops.statistics import adaptive_refusal
from convsmith.tiling.patch import Patch, fitted
from convsmith.tiling.spans import Span

__all__ = ["adaptive_pool", "convolution", "pool", "pool_refusal", "transposed_convolution"]

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSE: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_LARGEST: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _padded(call: Call, spec: Conv | Pool, value: float) -> Tensor:
    """What the windows of this part cover, with `value` beyond the border of the map."""
    at = len(call.spans) - spec.dims
    needed = tuple(spec.input_range(axis, *span) for axis, span in enumerate(call.spans[at:]))
    return fitted(call.first, (*call.first.spans[:at], *needed), value)


def convolution(call: Call) -> Tensor:
    """A convolution; zeros only where the map itself ends."""
    spec = call.layer.operation.arithmetic
    assert isinstance(spec, Conv)
    weight, bias = call.tensor(1), call.tensor(2)
    image = _padded(call, spec, 0.0)
    result: Tensor = _CONVOLVE[spec.dims](
        image, weight, bias, spec.stride, 0, spec.dilation, spec.groups
    )
    return result


def transposed_convolution(call: Call) -> Tensor:
    """A transposed convolution: every input that reaches the part, then the part cut out.

    Positions that no input reaches (`output_padding`) hold the bias alone.
    """
    spec = call.layer.operation.arithmetic
    assert isinstance(spec, ConvTranspose)
    weight, bias = call.tensor(1), call.tensor(2)
    written: Tensor = _TRANSPOSE[spec.dims](
        call.first.tensor, weight, None, spec.stride, 0, 0, spec.groups, spec.dilation
    )
    at = len(call.spans) - spec.dims
    reached = tuple(
        spec.windows[axis].input_range(*span) for axis, span in enumerate(call.first.spans[at:])
    )
    shape = call.layer.results[0].shape
    spans = (*call.spans[:at], *reached)
    result = fitted(Patch(written, spans, shape), call.spans)
    return result if bias is None else result + bias.reshape(-1, *[1] * spec.dims)


def pool_refusal(question: Question) -> str:
    """Indices of maxima count positions of the whole map."""
    if 1 in question.used:
        return "the indices of its maxima are used"
    return adaptive_refusal(question)


def pool(call: Call) -> Tensor:
    """A pool; the largest of nothing is -inf, and a mean divides by what the whole map says."""
    spec = call.layer.operation.arithmetic
    assert isinstance(spec, Pool)
    if spec.kind == "max":
        kind = call.first.tensor.dtype
        least = -float("inf") if kind.is_floating_point else torch.iinfo(kind).min
        image = _padded(call, spec, least)
        largest: Tensor = _LARGEST[spec.dims](
            image, spec.kernel_size, spec.stride, 0, spec.dilation
        )
        return largest
    mean: Tensor = _MEAN[spec.dims](_padded(call, spec, 0.0), spec.kernel_size, spec.stride)
    at = len(call.spans) - spec.dims
    for axis, window in enumerate(spec.windows):
        counts = _counts(
            window, call.spans[at + axis], call.first.shape[at + axis], spec.count_include_pad
        )
        if any(count != window.kernel for count in counts):
            factors = torch.tensor([window.kernel / count for count in counts], dtype=mean.dtype)
            mean = mean * factors.to(mean.device).reshape(-1, *[1] * (spec.dims - 1 - axis))
    return mean


def _counts(window: Window, span: Span, length: int, padding_counts: bool) -> list[int]:
    """By how many positions the mean of each window divides along one axis."""
    low, high = window.padding
    counts = []
    for output in range(*span):
        start = output * window.stride - low
        stop = min(start + window.kernel, length + high)
        if not padding_counts:
            start, stop = max(start, 0), min(stop, length)
        counts.append(max(1, stop - start))
    return counts


def adaptive_pool(call: Call) -> Tensor:
    """A pool whose windows follow from the sizes of the whole map, one axis after the other."""
    dims = int(call.layer.operation.name[-2])
    largest = "max" in call.layer.operation.name
    result = call.first.tensor
    for dim in range(len(call.spans) - dims, len(call.spans)):
        length, count = call.first.shape[dim], call.layer.shape[dim]
        start = call.first.spans[dim][0]
        bins = []
        for i in range(*call.spans[dim]):
            low, high = i * length // count - start, -(-(i + 1) * length // count) - start
            part = result.narrow(dim, low, high - low)
            bins.append(part.amax(dim, keepdim=True) if largest else part.mean(dim, keepdim=True))
        result = torch.cat(bins, dim)
    return result
