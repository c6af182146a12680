"""Whether a network moves with the image, so that a part of it gives the values of the whole."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convsmith.network import Layer
from convsmith.tiling.survey import Survey

__all__ = ["changed", "unmoved"]

_FOLLOWING = ("reshape", "upsample")
"""Kinds whose settings name sizes, which follow those of the image by themselves."""


def unmoved(survey: Survey) -> str:
    """Why a network does not move with the image, so that a part of it gives other values; or ''.

    Interpolation by whole factors moves with it; to a size that is no multiple, it does not.
    """
    if len(survey.image.shape) != 4:
        return f"{survey.image.name}: kernels take images with two axes"
    for layer in survey.network:
        is_needed = layer.name in survey.needed and not layer.constant
        if is_needed and (reason := _stays(survey, layer)):
            return f"{layer.name} ({layer.operation}): {reason}"
    return ""


def _stays(survey: Survey, layer: Layer) -> str:
    cut = [axis is not None for axis in survey.axes[layer.name]]
    if not any(cut):
        return ""
    settings = layer.operation.settings
    if layer.kind == "upsample":
        pairs = zip(layer.operands[0].shape[2:], layer.shape[2:], strict=True)
        if settings.get("align_corners") or any(m % n and n % m for n, m in pairs):
            return "its positions depend on the size of the image"
    if layer.operation.name.startswith("adaptive"):
        return "its windows depend on the size of the image"
    if layer.kind == "pad" and settings.get("mode") == "circular":
        return "it pads with the opposite border"
    if layer.kind == "concat" and cut[settings.get("dim", 0)]:
        return "it joins maps along an axis of the image"
    if layer.kind in ("slice", "split") and cut[settings.get("dim", 0) % len(cut)]:
        return "it counts positions from the border"
    if layer.kind in ("roll", "creation") or layer.operation.name in ("repeat", "tile"):
        return "it counts positions from the border"
    for number, operand in enumerate(layer.operands):
        wide = zip(reversed(operand.shape), reversed(cut), strict=False)
        is_fixed = layer.kind == "elementwise" and number not in layer.places
        if is_fixed and any(along and length > 1 for length, along in wide):
            return "it adds values of the whole map"
    return ""


def changed(whole: Survey, part: Survey) -> str:
    """Why a network computes something else at the size of a part; or ''.

    Its code may ask for the size of the image: for a divisor, a grid of coordinates, a branch.
    """
    layers = {layer.node: layer.kind for layer in whole.network}
    graphs = [list(each.network.program.graph.nodes) for each in (whole, part)]
    if [(n.op, n.name, str(n.target)) for n in graphs[0]] != [
        (n.op, n.name, str(n.target)) for n in graphs[1]
    ]:
        return "it has other layers for images of other sizes"
    for one, other in zip(*graphs, strict=True):
        pair = [tree_map(str, (node.args, node.kwargs)) for node in (one, other)]
        if one.op != "output" and pair[0] != pair[1] and layers.get(one.name) not in _FOLLOWING:
            return f"{one.name}: its settings follow from the size of the image"
    for name, value in whole.network.program.constants.items():
        other = part.network.program.constants.get(name)
        if isinstance(value, Tensor) and not (
            isinstance(other, Tensor)
            and value.shape == other.shape
            and bool(torch.equal(value, other))
        ):
            return f"{name}: its values follow from the size of the image"
    for layer in whole.network:
        is_scaled = layer.kind == "upsample" and layer.name in whole.needed
        if is_scaled and _factors(layer) != _factors(part.network[layer.name]):
            return f"{layer.name}: its factor follows from the size of the image"
    return ""


def _factors(layer: Layer) -> list[Fraction]:
    pairs = zip(layer.operands[0].shape[2:], layer.shape[2:], strict=True)
    return [Fraction(after, before) for before, after in pairs]
