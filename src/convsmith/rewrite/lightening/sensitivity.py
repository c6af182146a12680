"""How much a network's output suffers from an error in one of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.network import submodule, untouched
from convsmith.rewrite.lightening.outputs import compared

__all__ = ["sensitivities"]

_SHARE = 0.1
"""The noise, as a fraction of a response's variance: about as large as the errors of forms."""


def sensitivities(
    model: nn.Module, images: Tensor, paths: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Output error per unit of error in each layer, both as fractions of variance.

    Measured: white noise of a tenth of its variance is added to the response of one layer after
    the other, channel by channel, and the output compared with the one without it.

    Returns:
        By path: 0 if the output does not depend on the layer, 1 if it passes an error through
        unchanged.

    >>> net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 3))
    >>> 0 < sensitivities(net, torch.rand(256, 2, 3, 3), ["0"])["0"] < 3
    True
    """
    random = torch.Generator().manual_seed(seed)

    def disturb(_: nn.Module, __: Any, response: Tensor) -> Tensor:
        axes = [axis for axis in range(response.ndim) if axis != 1]
        deviation = response.std(axes, keepdim=True, correction=0) * _SHARE**0.5
        noise = torch.randn(response.shape, generator=random).to(response)
        disturbed: Tensor = response + deviation * noise
        return disturbed

    shares = {}
    with untouched(model), torch.no_grad():
        expected = _flat(model(images))
        variance = sum(float(part.var(0, correction=0).sum()) for part in expected)
        for path in paths:
            handle = submodule(model, path).register_forward_hook(disturb)
            try:
                outputs = _flat(model(images))
            finally:
                handle.remove()
            moved = sum(
                float((a - b).square().mean(0).sum())
                for a, b in zip(outputs, expected, strict=True)
            )
            shares[path] = moved / _SHARE / variance if variance else 1.0
    return shares


def _flat(answer: Any) -> list[Tensor]:
    """Every output that can be compared as (images, values)."""
    return [part.flatten(1).double() for part in compared(answer)]
