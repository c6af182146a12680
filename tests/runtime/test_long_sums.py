"""The error of a long sum is like that of eager, whichever kernel makes it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile


def _separable(channels: int, groups: int, out: int) -> nn.Module:
    depthwise = nn.Conv2d(groups, channels, 3, padding=1, groups=groups)
    return nn.Sequential(depthwise, nn.Conv2d(channels, out, 1))


def _gate(channels: int, between: int) -> nn.Module:
    ends = nn.Conv2d(channels, between, 1), nn.Conv2d(between, channels, 1)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), *ends)


LAYERS = {
    "linear": (nn.Linear(512, 800), (512,)),
    "linear after an activation": (nn.Sequential(nn.ReLU(), nn.Linear(1280, 300)), (1280,)),
    "gate": (_gate(256, 64), (256, 3, 2)),
    "pointwise": (nn.Conv2d(512, 100, 1), (512, 7, 9)),
    "pointwise, odd parts": (nn.Conv2d(1083, 48, 1), (1083, 5, 6)),
    "dense": (nn.Conv2d(1024, 48, (3, 1)), (1024, 7, 6)),
    "separable": (_separable(960, 960, 96), (960, 7, 8)),
    "separable, several of each": (_separable(512, 64, 96), (64, 9, 8)),
    "grouped": (nn.Conv2d(224, 224, 3, stride=2, groups=2), (224, 13, 14)),
    "grouped, dilated": (nn.Conv2d(80, 96, 5, dilation=2, groups=2), (80, 19, 20)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_error_is_at_most_twice_eagers(isa: Isa, layer: str) -> None:
    net, shape = LAYERS[layer]
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    kernels = compile(net.eval(), (1, *shape), isa=isa.name, threads=1)
    assert len(kernels.regions) == 1 and not kernels.reasons
    ours, eagers = [], []
    # Of a single image it is a matter of luck.
    for _ in range(8):
        image = torch.randn(1, *shape)
        with torch.no_grad():
            true = deepcopy(net).double()(image.double())
            ours.append(_error(kernels(image), true))
            eagers.append(_error(net(image), true))
    for mine, peer in zip(zip(*ours, strict=True), zip(*eagers, strict=True), strict=True):
        assert sum(mine) <= 2 * sum(peer)


def _error(value: Tensor, true: Tensor) -> tuple[float, float]:
    """The largest one and the mean square, as shares of those of the values."""
    difference = value - true
    return (
        float(difference.abs().max() / true.abs().max()),
        float(difference.square().mean() / true.square().mean()) ** 0.5,
    )
