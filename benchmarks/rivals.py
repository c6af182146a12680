"""Other tools that make a trained network lighter, each brought to a given time."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.surgery import replace

__all__ = ["RIVALS", "channel_pruning", "slightest", "tucker_layers"]

Make = Callable[[float], nn.Module]
"""From the share to give up, the network without it."""
_PROBES = 7
_NEAR = 1.03


def channel_pruning(model: nn.Module, image: Tensor) -> Make:
    """Torch-Pruning: removes whole channels, those of least norm first (Fang et al. 2023)."""
    import torch_pruning

    def make(share: float) -> nn.Module:
        light = deepcopy(model)
        # Neither the classes of an image nor those of a pixel may be pruned.
        heads = [layer for layer in light.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
        pruner = torch_pruning.pruner.MagnitudePruner(
            light,
            image,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=share,
            ignored_layers=heads[-1:],
            round_to=4,
        )
        pruner.step()
        return light

    return make


def tucker_layers(model: nn.Module, image: Tensor) -> Make:
    """TensorLy-Torch: each convolution as a Tucker tensor (Kim et al. 2016, arXiv:1511.06530)."""
    import tltorch

    def make(share: float) -> nn.Module:
        light = deepcopy(model)
        for path, conv in list(light.named_modules()):
            if isinstance(conv, nn.Conv2d) and min(conv.kernel_size) > 1 and conv.in_channels > 1:
                factored = tltorch.FactorizedConv.from_conv(
                    conv, rank=1 - share, factorization="tucker", fixed_rank_modes="spatial"
                )
                replace(light, path, _chain(conv, factored.weight))
        return light

    return make


def _chain(conv: Any, weight: Any) -> nn.Sequential:
    """The three convolutions that a Tucker tensor stands for, which run faster than its own."""
    outer, inner, *space = weight.factors
    core = torch.einsum("oiab,ha,wb->oihw", weight.core, *space)
    first = nn.Conv2d(inner.shape[0], inner.shape[1], 1, bias=False)
    middle = nn.Conv2d(
        inner.shape[1], outer.shape[1], conv.kernel_size, conv.stride, conv.padding,
        conv.dilation, bias=False, padding_mode=conv.padding_mode,
    )  # fmt: skip
    last = nn.Conv2d(outer.shape[1], outer.shape[0], 1, bias=conv.bias is not None)
    with torch.no_grad():
        first.weight.copy_(inner.T[:, :, None, None])
        middle.weight.copy_(core)
        last.weight.copy_(outer[:, :, None, None])
        if last.bias is not None:
            last.bias.copy_(conv.bias)
    return nn.Sequential(first, middle, last)


def slightest(make: Make, image: Tensor, budget: float, clock: Clock) -> float:
    """The smallest share whose network meets a time, by bisection; the largest if none does."""
    low, high = 0.0, 0.97
    for _ in range(_PROBES):
        share = (low + high) / 2
        light = make(share).eval()
        if clock.networks({"light": light}, image)["light"].median_ms <= budget * _NEAR:
            high = share
        else:
            low = share
    return high


RIVALS: dict[str, Callable[[nn.Module, Tensor], Make]] = {
    "Torch-Pruning": channel_pruning,
    "TensorLy-Torch": tucker_layers,
}
