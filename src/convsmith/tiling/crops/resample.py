"""Interpolation and pixel shuffles on a part of a map, by positions in the whole one.

PyTorch computes the place of an interpolated value in the arithmetic of its tensor. In float32
the place of position 30,000 is rounded by up to 0.002 of a pixel, so that a value may come from the
pixel beside the one that exact arithmetic names. What is read here, and with which weight, follows
PyTorch's rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convsmith.network import Layer
from convsmith.tiling.crops.call import Call, Question
from convsmith.tiling.spans import Span, Spans

__all__ = [
    "pixel_shuffle",
    "shuffle_reads",
    "shuffle_refusal",
    "upsample",
    "upsample_reads",
    "upsample_refusal",
]

_CUBIC = -0.75
"""PyTorch's constant of the cubic kernel."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Where interpolated positions along one axis come from.

    Attributes:
        indices: (taps, positions) in the whole map.
        weights: the same shape; None where there is one tap of weight 1.
    """

    indices: NDArray[np.int64]
    weights: NDArray[Any] | None


def _taps(layer: Layer, axis: int, span: Span) -> Taps:
    name, settings = layer.operation.name, layer.operation.settings
    before, after = layer.operands[0].shape[2 + axis], layer.shape[2 + axis]
    factors = settings.get("scale_factors")
    factor = factors[axis] if factors else settings.get(("scales_d", "scales_h", "scales_w")[axis])
    real: Any = np.float64 if layer.operands[0].dtype == "float64" else np.float32
    at: Any = np.arange(*span)
    if before == after:
        return Taps(at[None], None)
    step = real(1 / factor) if factor else real(before) / real(after)
    last = before - 1
    if "nearest" in name:
        if after == 2 * before and "exact" not in name and not factor:
            return Taps(at[None] >> 1, None)
        place = (at.astype(real) + real(0.5 if "exact" in name else 0)) * step
        return Taps(np.minimum(np.floor(place).astype(np.int64), last)[None], None)
    if settings.get("align_corners"):
        step = real(before - 1) / real(after - 1) if after > 1 else real(0)
        place = at.astype(real) * step
    else:
        # One rounding, as compilers fuse PyTorch's product and difference.
        place = (np.float64(step) * (at + 0.5) - 0.5).astype(real)
        if "cubic" not in name:
            place = np.maximum(place, real(0))
    low = np.floor(place).astype(np.int64)
    if "cubic" in name:
        indices = np.clip(low + np.arange(-1, 3)[:, None], 0, last)
        return Taps(indices, np.stack(_cubic(place - low.astype(real))).astype(real))
    low = np.minimum(low, last)
    share = np.clip(place - low.astype(real), real(0), real(1)).astype(real)
    return Taps(np.stack([low, np.minimum(low + 1, last)]), np.stack([real(1) - share, share]))


def _cubic(share: NDArray[Any]) -> list[NDArray[Any]]:
    def near(x: NDArray[Any]) -> Any:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: NDArray[Any]) -> Any:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


def upsample_reads(layer: Layer, spans: Spans) -> dict[int, Spans]:
    """The hull of the positions that the part is interpolated from."""
    axes = []
    for axis, span in enumerate(spans[2:]):
        indices = _taps(layer, axis, span).indices
        axes.append((int(indices.min()), int(indices.max()) + 1))
    return {0: (*spans[:2], *axes)}


def upsample_refusal(question: Question) -> str:
    """A result whose batch or channels are cut is none that a tile asks for."""
    cut = any(axis is not None for axis in question.result[:2])
    return "it interpolates along the channels" if cut else ""


def upsample(call: Call) -> Tensor:
    """Interpolate one axis after the other, the last one first."""
    result = call.first.tensor
    for axis in reversed(range(len(call.spans) - 2)):
        result = _along(result, call, axis)
    return result


def _along(tensor: Tensor, call: Call, axis: int) -> Tensor:
    taps = _taps(call.layer, axis, call.spans[2 + axis])
    dim, first = 2 + axis, call.first.spans[2 + axis][0]
    indices = torch.from_numpy(taps.indices - first).to(tensor.device)
    if taps.weights is None:
        return tensor.index_select(dim, indices[0])
    shape = [-1 if d == dim else 1 for d in range(tensor.dim())]
    weights = torch.from_numpy(taps.weights).to(tensor.device, tensor.dtype)
    parts = (
        tensor.index_select(dim, index) * weight.reshape(shape)
        for index, weight in zip(indices, weights, strict=True)
    )
    result: Tensor = next(parts)
    for part in parts:
        result += part
    return result


def shuffle_refusal(question: Question) -> str:
    """Pixels move between channels and the last two dimensions; others must be whole."""
    cut = question.result[:-2] if question.result else ()
    return (
        "it is not the last two dimensions that are cut"
        if any(axis is not None for axis in cut)
        else ""
    )


def shuffle_reads(layer: Layer, spans: Spans) -> dict[int, Spans]:
    """Whole pixels of the operand: one row of the result needs only some of its channels."""
    factor = layer.operation.settings["upscale_factor"]
    shape = layer.operands[0].shape
    space = ((start // factor, -(-stop // factor)) for start, stop in spans[-2:])
    return {0: (*spans[:-3], (0, shape[-3]), *space)}


def pixel_shuffle(call: Call) -> Tensor:
    """Shuffle whole pixels of the operand, then cut the part out."""
    factor = call.settings["upscale_factor"]
    shuffled: Tensor = F.pixel_shuffle(call.first.tensor, factor)
    for dim in (-2, -1):
        start, stop = call.spans[dim]
        shuffled = shuffled.narrow(dim, start - call.first.spans[dim][0] * factor, stop - start)
    return shuffled
