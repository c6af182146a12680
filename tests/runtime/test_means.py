"""The error of a mean does not grow with the number of pixels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.kernels.isa import Isa


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), Mean()], ids=["pool", "mean"])
@pytest.mark.parametrize(
    "size", [(7, 7), (16, 17), (1, 15), (224, 224), (1, 100_000), (100_000, 1), (1023, 1025)]
)
def test_many_pixels(isa: Isa, pool: nn.Module, size: tuple[int, int]) -> None:
    _check(nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), pool), isa, size)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(
    ("window", "stride", "size"),
    [
        ((500, 500), 1, (500, 501)),
        ((500, 500), 500, (1000, 500)),
        ((300, 7), 2, (300, 20)),
        ((1, 2000), 1, (3, 2001)),
    ],
)
@pytest.mark.parametrize("padding", [0, (0, 1)])
def test_large_windows(
    isa: Isa,
    window: tuple[int, int],
    stride: int,
    size: tuple[int, int],
    padding: int | tuple[int, int],
    counted: bool,
) -> None:
    pool = nn.AvgPool2d(window, stride, padding, count_include_pad=counted)
    _check(nn.Sequential(nn.Conv2d(3, 19, 1), nn.ReLU(), pool), isa, size)


def _check(net: nn.Module, isa: Isa, size: tuple[int, int]) -> None:
    net = net.eval()
    fast = cs.compile(net, (1, 3, *size), isa=isa.name, threads=1)
    assert fast.regions
    exact = copy.deepcopy(net).double()
    for image in (torch.full((1, 3, *size), 0.1), torch.rand(1, 3, *size)):
        with torch.no_grad():
            right, theirs = exact(image.double()), net(image)
        error, usual = ((value - right).norm() / right.norm() for value in (fast(image), theirs))
        assert error <= 2 * usual + torch.finfo(torch.float32).eps
