"""Operations that move or repeat values, on a part of a tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from convsmith.arithmetic.window import source_index
from convsmith.network.shapes import factor_groups
from convsmith.tiling.crops.call import Call, Question
from convsmith.tiling.patch import fitted, gathered
from convsmith.tiling.spans import Spans

__all__ = [
    "concat", "concat_refusal", "creation", "creation_refusal", "expand", "expand_refusal", "flip",
    "flip_refusal", "pad", "pick", "reshape", "reshape_refusal", "slice_", "split",
]  # fmt: skip

_MODES = {"reflect", "replicate", "circular"}


def pad(call: Call) -> Tensor:
    """Padding, or cutting where it is negative; only positions beyond the border are made up."""
    settings, name = call.settings, call.layer.operation.name
    sides = list(settings.get("pad", settings.get("padding")))
    mode = settings.get("mode", "reflect" if "reflection" in name else "constant")
    mode = "replicate" if "replication" in name else mode
    dims = len(call.spans)
    shift = [0] * dims
    for i in range(len(sides) // 2):
        shift[dims - 1 - i] = sides[2 * i]
    needed: Spans = tuple(
        (start - by, stop - by) for (start, stop), by in zip(call.spans, shift, strict=True)
    )
    if mode not in _MODES:
        return fitted(call.first, needed, settings.get("value") or 0.0)
    result = call.first.tensor
    for dim in range(dims - len(sides) // 2, dims):
        first, length = call.first.spans[dim][0], call.first.shape[dim]
        sources = [source_index(p, length, mode) for p in range(*needed[dim])]
        result = gathered(result, dim, [s - first for s in sources if s is not None])
    return result


def reshape_refusal(question: Question) -> str:
    """A dimension that is cut must stay a dimension of its own."""
    layer = question.layer
    kept = set()
    for before, after in factor_groups(layer.operands[0].shape, layer.shape):
        if len(before) == len(after) == 1:
            kept.add(before[0])
    for dim, axis in enumerate(question.operands[0]):
        if axis is not None and dim not in kept and layer.operands[0].shape[dim] != 1:
            return "it joins an axis of the map with another dimension"
    return ""


def reshape(call: Call) -> Tensor:
    """The same values in another shape; dimensions that are cut keep the length of the part."""
    return call.first.tensor.reshape(call.size)


def slice_(call: Call) -> Tensor:
    """Every `step`-th position, or the only one without its dimension."""
    settings = call.settings
    dim = settings.get("dim", 0)
    if call.layer.operation.name == "select":
        return call.first.tensor.select(dim, 0)
    step = settings.get("step", 1)
    if step == 1:
        return call.first.tensor
    index = [slice(None)] * call.first.tensor.dim()
    index[dim] = slice(None, None, step)
    return call.first.tensor[tuple(index)]


def split(call: Call) -> Tensor:
    """One of the parts, which its reads have already cut out."""
    if call.layer.operation.name == "unbind":
        return call.first.tensor.squeeze(call.settings.get("dim", 0))
    return call.first.tensor


def pick(call: Call) -> Tensor:
    """One of the results of a layer, which its reads name."""
    return call.first.tensor


def concat_refusal(question: Question) -> str:
    """Only joins along a dimension that is named."""
    name = question.layer.operation.name
    if name not in ("cat", "concat", "concatenate", "stack"):
        return "which dimension it joins is not read"
    joined = question.result[question.layer.operation.settings.get("dim", 0)]
    fixed = len(question.layer.places) < len(question.layer.operands)
    return "it joins a fixed map along an axis of the image" if fixed and joined is not None else ""


def concat(call: Call) -> Tensor:
    """The parts of those operands that the part of the result lies in."""
    parts = [patch.tensor for patch in call.operands if patch is not None]
    dim = call.settings.get("dim", 0)
    return (
        torch.stack(parts, dim) if call.layer.operation.name == "stack" else torch.cat(parts, dim)
    )


def expand_refusal(question: Question) -> str:
    """Values repeated one by one are not read position by position."""
    return "it repeats values" if question.layer.operation.name == "repeat_interleave" else ""


def expand(call: Call) -> Tensor:
    """Values repeated: by broadcasting, or the whole tensor again and again."""
    result = call.first.tensor
    if call.layer.operation.name not in ("repeat", "tile"):
        return result.expand(call.size)
    lead = len(call.spans) - result.dim()
    result = result.reshape((1,) * lead + tuple(result.shape))
    for dim, (start, stop) in enumerate(call.spans):
        first = 0 if dim < lead else call.first.spans[dim - lead][0]
        length = 1 if dim < lead else call.first.shape[dim - lead]
        result = gathered(result, dim, [p % length - first for p in range(start, stop)])
    return result


def flip_refusal(question: Question) -> str:
    """A roll without dimensions goes through the flattened tensor."""
    return "" if question.layer.operation.settings["dims"] else "it rolls the flattened tensor"


def flip(call: Call) -> Tensor:
    """A roll or a flip, by positions in the whole tensor."""
    result, settings = call.first.tensor, call.settings
    rolled = call.layer.operation.name == "roll"
    for i, dim in enumerate(settings["dims"]):
        dim %= len(call.spans)
        first, length = call.first.spans[dim][0], call.first.shape[dim]
        sources = [
            ((p - settings["shifts"][i]) % length if rolled else length - 1 - p) - first
            for p in range(*call.spans[dim])
        ]
        result = gathered(result, dim, sources)
    return result


def creation_refusal(question: Question) -> str:
    """Random values differ from run to run, and so from tile to tile."""
    return "its values are random" if "rand" in question.layer.operation.name else ""


def creation(call: Call) -> Tensor:
    """A tensor from nothing, in the shape of the part."""
    name = call.layer.operation.name
    kind = getattr(torch, call.layer.results[call.result].dtype)
    if name in ("zeros_like", "new_zeros", "ones_like", "new_ones"):
        return (torch.zeros if "zeros" in name else torch.ones)(call.size, dtype=kind)
    if name in ("full_like", "new_full"):
        return torch.full(call.size, call.settings["fill_value"], dtype=kind)
    return call.run()
