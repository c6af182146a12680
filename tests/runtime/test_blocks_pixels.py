"""Channels that become pixels and back; maps that are combined value by value; learnt slopes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from tests.runtime.oracle import agree, agree_on_faults, few, image, kinds, with_faults

sides = st.integers(1, 14)


def _runs_in_kernels(net: nn.Module, x: Tensor, isa: Isa) -> None:
    compiled = agree(net, x, isa=isa.name, threads=2)
    assert not compiled.reasons


@few
@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), sides, sides)
def test_channels_become_pixels(
    isa: Isa, channels: int, factor: int, after: bool, h: int, w: int
) -> None:
    layers = [nn.Conv2d(3, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    last = [nn.ReLU(), nn.Conv2d(channels, 5, 3, padding=1)] if after else []
    _runs_in_kernels(nn.Sequential(*layers, *last), image(3, h, w), isa)


@few
@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), sides, sides)
def test_pixels_become_channels(
    isa: Isa, channels: int, factor: int, before: bool, h: int, w: int
) -> None:
    first = [nn.Conv2d(3, channels, 3, padding=1)] if before else []
    inputs = channels if before else 3
    layers = [nn.PixelUnshuffle(factor), nn.Conv2d(inputs * factor**2, 5, 3, padding=1)]
    _runs_in_kernels(nn.Sequential(*first, *layers), image(3, factor * h, factor * w), isa)


@few
@given(st.integers(1, 70), st.booleans(), st.booleans(), sides, sides)
def test_learnt_slopes(isa: Isa, channels: int, each: bool, alone: bool, h: int, w: int) -> None:
    slopes = _slopes(channels if each else 1)
    conv = nn.Conv2d(3, channels, 3, padding=1)
    _runs_in_kernels(
        nn.Sequential(conv, slopes, *([] if alone else [nn.Conv2d(channels, 4, 1)])),
        image(3, h, w),
        isa,
    )


def _slopes(channels: int) -> nn.PReLU:
    slopes = nn.PReLU(channels)
    nn.init.normal_(slopes.weight)
    return slopes


class _Excite(nn.Module):
    """Squeeze-and-excite, a sum if wanted, then slopes."""

    def __init__(self, channels: int, add: bool) -> None:
        super().__init__()
        self.gate, self.slopes, self.add = nn.Conv2d(channels, channels, 1), _slopes(channels), add

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.slopes(x * gate + x if self.add else x * gate)


SLOPED: dict[str, Callable[[int], tuple[list[nn.Module], list[str]]]] = {
    "dense": lambda c: ([nn.Conv2d(3, c, 3, padding=1), _slopes(c)], ["dense"]),
    "pointwise": lambda c: ([nn.Conv2d(3, c, 1), _slopes(c)], ["pointwise"]),
    "single": lambda c: ([nn.Conv2d(3, c, 1), _slopes(1)], ["pointwise"]),
    "grouped": lambda c: (
        [nn.Conv2d(3, 3 * c, 3, padding=1, groups=3), _slopes(3 * c)],
        ["grouped" if c > 1 else "depthwise"],
    ),
    "separable": lambda c: (
        [
            nn.Conv2d(3, 6, 3, padding=1, groups=3),
            nn.BatchNorm2d(6),
            _slopes(6),
            nn.Conv2d(6, c, 1),
            _slopes(c),
        ],
        ["separable"],
    ),
    "transposed": lambda c: ([nn.ConvTranspose2d(3, c, 4, 2, 1), _slopes(c)], ["dense"]),
    "twice": lambda c: (
        [nn.Conv2d(3, c, 1), _slopes(c), _slopes(c)],
        ["pointwise", "depthwise"],
    ),
    "excite": lambda c: (
        [nn.Conv2d(3, c, 1), _Excite(c, add=False)],
        ["pointwise", "Mean", "Mean", "pointwise", "Scaled"],
    ),
    "excite and add": lambda c: (
        [nn.Conv2d(3, c, 1), _Excite(c, add=True)],
        ["pointwise", "Mean", "Mean", "pointwise", "Scaled"],
    ),
    "normalised": lambda c: (
        [nn.Conv2d(3, c, 1), nn.GroupNorm(1, c), _slopes(c)],
        ["pointwise", "Mean", "Mean", "Mean", "Mean", "Factor", "Normalised"],
    ),
    "first of all": lambda c: ([_slopes(3), nn.Conv2d(3, c, 3)], ["depthwise", "dense"]),
}


@pytest.mark.parametrize("name", SLOPED)
@settings(few, max_examples=2)
@given(st.integers(1, 40), st.integers(3, 14), st.integers(3, 14))
def test_slopes_need_no_pass_of_their_own(
    isa: Isa, name: str, channels: int, h: int, w: int
) -> None:
    layers, blocks = SLOPED[name](channels)
    compiled = agree(nn.Sequential(*layers), image(3, h, w), isa=isa.name, threads=2)
    assert not compiled.reasons
    found = [kind for kind in kinds(compiled) if kind not in ("Input", "Output")]
    if name == "normalised":  # sums over a group are convolutions of one pixel
        found = [kind for kind in found if kind != "pointwise"]
        blocks = blocks[1:]
    assert found == blocks


class Combined(nn.Module):
    """Two convolutions of an image, whose values a function combines."""

    def __init__(self, channels: int, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(3, channels, 1)
        self.last, self.function = nn.Conv2d(channels, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        """The combination, through one more convolution."""
        return self.last(self.function(self.one(x), self.other(x)))


COMBINATIONS: dict[str, Callable[..., Tensor]] = {
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "max": torch.max,
    "min": torch.min,
    "division": lambda a, b: a / (b.abs() + 1),
    "softsign": lambda a, b: F.softsign(a) + b,
    "glu": lambda a, b: F.glu(torch.cat([a, b], 1), 1),
    "spatial gate": lambda a, b: a * b.mean(1, keepdim=True).sigmoid(),
    "difference of a channel": lambda a, b: b.mean(1, keepdim=True) - a,
    "quotient by a pixel": lambda a, b: a / (b.abs().mean((2, 3), keepdim=True) + 1),
    "a pixel by the map": lambda a, b: b.sum((2, 3), keepdim=True) / (a.abs() + 1),
    "sum of a pixel": lambda a, b: torch.maximum(a + b.mean((2, 3), keepdim=True), b),
    "one number": lambda a, b: a * b.mean((2, 3), True).mean(1, True) + a.sum(1, True),
    "addcmul": lambda a, b: torch.addcmul(a, a, b.sigmoid(), value=0.5),
    "largest channel": lambda a, b: a * b.amax(1, keepdim=True).sigmoid(),
    "cbam": lambda a, b: a * (b.max(1, keepdim=True)[0] + b.mean(1, keepdim=True)).sigmoid(),
    "largest values": lambda a, b: a * b.amax((2, 3), keepdim=True).sigmoid(),
    "max pool": lambda a, b: a * F.adaptive_max_pool2d(b, 1).sigmoid(),
    "star relu": lambda a, b: 0.9 * F.relu(a) ** 2 - 0.4 * b,
}


@pytest.mark.parametrize("name", COMBINATIONS)
@settings(few, max_examples=2)
@given(st.integers(1, 40), sides, sides)
def test_two_maps(isa: Isa, name: str, channels: int, h: int, w: int) -> None:
    _runs_in_kernels(Combined(channels, COMBINATIONS[name]), image(3, h, w), isa)


@pytest.mark.parametrize("name", [*COMBINATIONS, "prelu", "pixel shuffle", "pixel unshuffle"])
def test_not_finite(name: str, isa: Isa) -> None:
    layers = {"prelu": nn.PReLU(4), "pixel shuffle": nn.PixelShuffle(2)}
    layers |= {"pixel unshuffle": nn.PixelUnshuffle(2)}
    if name in layers:
        net: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 1), layers[name])
    else:
        net = Combined(4, COMBINATIONS[name])
    agree_on_faults(net, *with_faults(image(3, 8, 10), 0, 1, 3, 5), isa=isa.name)


def test_slopes_that_change_are_taken_over(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.PReLU(8))
    compiled = agree(net, image(3, 5, 6), isa=isa.name)
    with torch.no_grad():
        net[1].weight.mul_(-3)  # type: ignore[operator]
        torch.testing.assert_close(compiled(image(3, 5, 6)), net(image(3, 5, 6)))


def test_torch_runs_the_glu_of_the_model_under_autocast() -> None:
    """A product of its own would be rounded once more."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.GLU(1)).eval()
    x = image(3, 17, 19)
    compiled = compile(net, x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(x), net(x))
