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


class Spread(nn.Module):
    """A variance or its root, of the map or of the channels of each pixel."""

    def __init__(self, name: str, dims: list[int], lost: float | None) -> None:
        super().__init__()
        self.name, self.dims, self.lost = name, dims, lost

    def forward(self, x: Tensor) -> Tensor:
        spread: Tensor = getattr(x, self.name)(self.dims, correction=self.lost, keepdim=True)
        return spread


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("dims", [[1], [2, 3]])
@pytest.mark.parametrize("lost", [0, 1, 2.5])
@pytest.mark.parametrize("size", [(2, 2), (1, 19), (31, 33)])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_variance(
    isa: Isa, name: str, dims: list[int], lost: float, size: tuple[int, int], mean: float
) -> None:
    """Of values about their mean, however far that is from 0."""
    conv = nn.Conv2d(3, 19, 1)
    nn.init.constant_(conv.bias, mean)  # type: ignore[arg-type]
    net = nn.Sequential(conv, Spread(name, dims, lost)).eval()
    fast = cs.compile(net, (1, 3, *size), isa=isa.name, threads=2)
    assert not fast.reasons
    for rows, columns in (size, (size[0] + 3, size[1] + 2)):  # another size has another count
        image = torch.rand(2, 3, rows, columns)
        with torch.no_grad():
            values = conv(image)
            right = net[1](values.double())
            theirs = net[1](values)
        found = fast(image)
        # Values are rounded at the size of their mean.
        noise = torch.finfo(torch.float32).eps * (1 + mean) * right.sqrt().clamp(min=1).max()
        error, usual = ((value - right).abs().max() for value in (found, theirs))
        assert error <= 2 * usual + 8 * noise


def test_there_is_no_variance_of_one_value(isa: Isa) -> None:
    for dims, channels in (([1], 1), ([2, 3], 5)):
        net = nn.Sequential(nn.Conv2d(3, channels, 1), Spread("var", dims, 1)).eval()
        fast = cs.compile(net, (1, 3, 1, 1), isa=isa.name)
        assert not fast.reasons
        assert fast(torch.rand(1, 3, 1, 1)).isnan().all()


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
