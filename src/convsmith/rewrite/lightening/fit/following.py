"""The batch norms and activation that a layer's output goes through first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.network import Layer, Network, submodule

__all__ = ["Following", "following"]

_CUTS: Mapping[str, Callable[..., tuple[float | None, float | None]]] = {
    "relu": lambda: (0, None),
    "relu6": lambda: (0, 6),
    "hardtanh": lambda min_val=-1, max_val=1: (min_val, max_val),
    "clamp": lambda min=None, max=None: (min, max),
    "clamp_min": lambda min: (min, None),
    "clamp_max": lambda max: (None, max),
}
"""Activations that only cut values off, and where, by the arguments of PyTorch's operators."""


@dataclass(frozen=True)
class Following:
    """Norms with fixed statistics, then an activation, as one function of maps.

    Attributes:
        norms: in order.
        activation: of maps that it may write into.
        limits: where all that it does is cut off values below and above; else None.
    """

    norms: tuple[_BatchNorm, ...]
    activation: Callable[[Tensor], Tensor]
    limits: tuple[float, float] | None = None

    def __call__(self, maps: Tensor) -> Tensor:
        """What becomes of maps (images, channels, *size), which stay as they are."""
        for norm in self.norms:
            maps = norm(maps)
        return self.activation(maps.clone())

    def affine(self, channels: int) -> tuple[Tensor, Tensor]:
        """What the norms do to each channel: a scale and a shift, in float64."""
        scale, shift = torch.ones(channels).double(), torch.zeros(channels).double()
        for norm in self.norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = (norm.running_var.detach().cpu().double() + norm.eps).rsqrt()
            offset = -norm.running_mean.detach().cpu().double() * factor
            if norm.affine:
                weight, bias = (v.detach().cpu().double() for v in (norm.weight, norm.bias))
                factor, offset = factor * weight, offset * weight + bias
            scale, shift = scale * factor, shift * factor + offset
        return scale, shift


def following(network: Network, layer: Layer, model: nn.Module) -> Following | None:
    """The batch norms and the activation after a layer, as one function of its maps.

    None if no activation follows, or if another layer reads the maps before it.
    """
    nodes = {node.name: node for node in network.program.graph.nodes}
    norms: list[_BatchNorm] = []
    while True:
        readers = network.consumers(layer.name)
        if len(readers) != 1 or layer.name in network.outputs:
            return None
        layer = readers[0]
        if layer.kind == "activation":
            break
        norm = submodule(model, layer.path) if layer.kind == "batch norm" and layer.path else None
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            return None
        norms.append(norm)
    node = nodes[layer.node]
    if any(isinstance(value, Node) for value in (*node.args[1:], *node.kwargs.values())):
        return None  # a parameter of its own

    def activation(maps: Tensor) -> Tensor:
        result: Tensor = node.target(maps, *node.args[1:], **node.kwargs)
        return result

    return Following(tuple(norms), activation, _limits(node))


def _limits(node: Node) -> tuple[float, float] | None:
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return None
    cut = _CUTS.get(target.overloadpacket.__name__.rstrip("_"))
    if cut is None:
        return None
    names = [argument.name for argument in target._schema.arguments][1:]
    low, high = cut(**{**dict(zip(names, node.args[1:], strict=False)), **node.kwargs})
    limits = -inf if low is None else float(low), inf if high is None else float(high)
    return limits if limits[0] < limits[1] else None
