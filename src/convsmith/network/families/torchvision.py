"""Operations that torchvision adds to PyTorch's own: counted, and read in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING

from convsmith.network.cost import Cost
from convsmith.network.families.family import CostRule, Family
from convsmith.network.families.index import FAMILIES as _INDEX

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["OPERATIONS"]

# A bilinear sample: four products and three additions.
_SAMPLE = 7


def _deformed_cost(layer: Layer) -> Cost:
    """A convolution of values that are sampled at each tap, and weighted by a mask."""
    image, weight = layer.operands[0].shape, layer.operands[1].shape
    macs = layer.numel * prod(weight[1:])
    taps = image[0] * image[1] * prod(weight[2:]) * prod(layer.shape[2:])
    masked = bool(layer.operation.settings["use_mask"])
    return Cost(macs, 2 * macs + layer.numel + taps * (_SAMPLE + masked))


def _aligned_cost(layer: Layer) -> Cost:
    """A mean of samples of each cell, whose number may follow from the size of a box."""
    samples = layer.operation.settings["sampling_ratio"]
    if samples <= 0:
        name = layer.operation.name.partition("::")[2]
        return Cost(0, None, "unknown", f"how often {name} samples depends on the boxes")
    return Cost(0, layer.numel * samples**2 * (_SAMPLE + 1))


def _by_the_values(layer: Layer) -> Cost:
    """No multiply-adds; comparisons by what the boxes hold."""
    name = layer.operation.name.partition("::")[2]
    return Cost(0, None, "unknown", f"comparisons of {name} depend on the boxes")


def _picking(cost: CostRule, title: str = "") -> Family:
    """Values are picked by boxes or offsets, which can name any place."""
    return replace(_INDEX[0], cost=cost, title=title, exceptions=MappingProxyType({}))


OPERATIONS: Mapping[str, Family] = MappingProxyType(
    {
        "torchvision::deform_conv2d": _picking(_deformed_cost, "deformable convolutions"),
        "torchvision::nms": _picking(_by_the_values),
        "torchvision::ps_roi_align": _picking(_aligned_cost),
        "torchvision::ps_roi_pool": _picking(_by_the_values),
        "torchvision::roi_align": _picking(_aligned_cost),
        "torchvision::roi_pool": _picking(_by_the_values),
    }
)
"""Families by the qualified names of their operations."""
