"""Operations that join whole axes: which of them a sweep over the image can stand in for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.network import Layer
from convsmith.tiling.crops.call import Call, Question

__all__ = [
    "LOCAL_WINDOW",
    "adaptive_refusal",
    "is_global",
    "norm",
    "norm_groups",
    "norm_refusal",
    "normalised",
    "reduced_dims",
    "reduction_refusal",
    "sweeps_norm",
    "sweeps_pool",
    "sweeps_reduction",
]  # fmt: skip

LOCAL_WINDOW = 64
"""An adaptive pool whose windows are larger than this is read as a global one. Below, a tile reads
at most this many positions more, which costs less than another sweep over the image."""

_SWEPT = {"mean", "sum", "amax", "amin", "var", "std"}


def reduced_dims(layer: Layer) -> tuple[int, ...]:
    """The dimensions of its operand that a reduction joins."""
    shape, dims = layer.operands[0].shape, layer.operation.settings.get("dim")
    if dims is None or dims == []:
        return tuple(range(len(shape)))
    return tuple(sorted({d % len(shape) for d in ([dims] if isinstance(dims, int) else dims)}))


def reduction_refusal(question: Question) -> str:
    """Over channels a reduction is local, over positions it is not."""
    axes = question.operands[0]
    if any(axes[dim] is not None for dim in reduced_dims(question.layer)):
        return f"its {question.layer.operation.name} runs over the whole map"
    return ""


def sweeps_reduction(question: Question) -> bool:
    """Whether its result can be gathered from tiles."""
    layer = question.layer
    return layer.operation.name in _SWEPT and len(layer.results) == 1


def is_global(layer: Layer, dim: int) -> bool:
    """Whether an adaptive pool's windows along a dimension count as the whole map."""
    before, after = layer.operands[0].shape[dim], layer.shape[dim]
    return before > after and (after == 1 or before > LOCAL_WINDOW * after)


def adaptive_refusal(question: Question) -> str:
    """Windows that grow with the image are global ones."""
    layer, axes = question.layer, question.operands[0]
    if not layer.operation.name.startswith("adaptive"):
        return ""
    dims = int(layer.operation.name[-2])
    places = range(len(layer.shape) - dims, len(layer.shape))
    if any(axes[dim] is not None and is_global(layer, dim) for dim in places):
        return "its windows grow with the image: it pools the whole map"
    return ""


def sweeps_pool(question: Question) -> bool:
    """An adaptive pool can be gathered from tiles, bin by bin; not where its maxima lie."""
    return question.layer.operation.name.startswith("adaptive") and 1 not in question.used


def norm_refusal(question: Question) -> str:
    """Those over channels alone are local; group and instance norm join the map."""
    layer, axes = question.layer, question.operands[0]
    name, settings = layer.operation.name, layer.operation.settings
    if "layer_norm" in name or "rms" in name:
        count = len(settings["normalized_shape"])
        joined = any(axis is not None for axis in axes[-count:])
        return "it normalises over the whole map" if joined else ""
    if "instance_norm" in name and not settings.get("use_input_stats", True):
        return ""
    if "group_norm" in name or "instance_norm" in name:
        return "its statistics are those of the whole map"
    if name in ("linalg_vector_norm", "norm"):
        return reduction_refusal(question)
    return "its norm runs over the whole map"


def norm_groups(layer: Layer) -> int:
    """Over how many groups of channels a group or instance norm takes its statistics."""
    settings = layer.operation.settings
    if "instance_norm" in layer.operation.name:
        return layer.shape[1]
    groups: int = settings.get("num_groups", settings.get("group"))
    return groups


def sweeps_norm(question: Question) -> bool:
    """Mean and variance of a group of channels can be gathered from tiles."""
    name = question.layer.operation.name
    return ("group_norm" in name or "instance_norm" in name) and 1 not in question.used


def norm(call: Call) -> Tensor:
    """Instance norm with its running statistics is a batch norm; others are called as they are."""
    if "instance_norm" in call.layer.operation.name:
        weight, bias, mean, variance = _affine(call, 4)
        assert mean is not None
        assert variance is not None
        eps = call.settings.get("eps", 1e-5)
        return F.batch_norm(call.first.tensor, mean, variance, weight, bias, False, 0.0, eps)
    return call.run()


def normalised(call: Call, mean: Tensor, variance: Tensor) -> Tensor:
    """A group or instance norm whose statistics (batch, groups) are known."""
    image = call.first.tensor
    groups = norm_groups(call.layer)
    eps = call.settings.get("eps", 1e-5)
    weight, bias = _affine(call, 2)
    channels = image.shape[1]
    shape = (image.shape[0], channels, *[1] * (image.dim() - 2))

    def placed(values: Tensor) -> Tensor:
        return values.to(image.device, image.dtype).reshape(shape)

    scale = torch.rsqrt(variance + eps).repeat_interleave(channels // groups, 1)
    if weight is not None:
        scale = scale * weight.double().cpu()
    centred = image - placed(mean.repeat_interleave(channels // groups, 1))
    if bias is None:
        return centred.mul_(placed(scale))
    offset = bias.to(image.dtype).reshape(1, channels, *shape[2:])
    return torch.addcmul(offset, centred, placed(scale))


def _affine(call: Call, count: int) -> list[Tensor | None]:
    """The operands behind the image by their names, None where the layer has none."""
    names = ("weight", "bias", "running_mean", "running_var")[:count]
    schema = [argument.name for argument in call.node.target._schema.arguments]  # type: ignore[union-attr]
    tensors: list[Tensor | None] = []
    number = 1
    for name in names:
        place = schema.index(name) if name in schema else -1
        value = call.node.args[place] if 0 <= place < len(call.node.args) else None
        if value is None:
            value = call.node.kwargs.get(name)
        tensors.append(None if value is None else call.tensor(number))
        number += value is not None
    return tensors
