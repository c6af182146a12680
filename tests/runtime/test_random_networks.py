"""Networks of any shape: chains, branches, squeeze-and-excite, pools, two outputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.kernels.isa import ISAS
from tests.runtime.agreement import agree
from tests.runtime.test_lowerings import Function
from tests.runtime.test_random_blocks import ACTIVATIONS, able, lively
from tests.thoroughness import examples

STEPS = [
    "dense", "pointwise", "separable", "inverted", "excite", "max", "average", "branch", "act",
    "up", "down", "gated", "padded", "normed", "adaptive", "sliced",
]  # fmt: skip


PER_PIXEL = [
    lambda x: F.normalize(x, dim=1, eps=0.1),
    lambda x: F.softmax(x, 1),
    lambda x: F.local_response_norm(x, 5, 0.5, 0.75, 1.0),
    lambda x: (x - x.mean(1, True)) / (x.var(1, correction=0, keepdim=True) + 0.5).sqrt(),
    lambda x: x / (x.std((2, 3), correction=0, keepdim=True) + 0.5),
    lambda x: x - x.amin(1, keepdim=True) + x.amin((2, 3), keepdim=True),
    lambda x: x / (x.abs().mean(1, keepdim=True) + 0.5),
    lambda x: F.rms_norm(x.movedim(1, -1), x.shape[1:2], None, 0.1).movedim(-1, 1),
]


class _Excite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(1, channels // 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, few, 1), nn.ReLU(),
            nn.Conv2d(few, channels, 1), nn.Hardsigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class _Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _Branch(nn.Module):
    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class Network(nn.Module):
    """Steps one after the other; the value in the middle is an output too, if wanted."""

    def __init__(self, steps: list[nn.Module], middle: int | None) -> None:
        super().__init__()
        self.steps, self.middle = nn.ModuleList(steps), middle

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """All steps."""
        kept = x
        for number, step in enumerate(self.steps):
            x = step(x)
            if number == self.middle:
                kept = x
        return x if self.middle is None else (x, kept)


def _step(draw: st.DrawFn, kind: str, channels: int) -> tuple[nn.Module, int]:
    out = draw(st.integers(1, 40))
    stride = draw(st.integers(1, 2))
    act = ACTIVATIONS[draw(st.integers(0, len(ACTIVATIONS) - 1))]
    if kind == "dense":
        layers = [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), act()]
        return nn.Sequential(*layers), out
    if kind == "pointwise":
        return nn.Sequential(nn.Conv2d(channels, out, 1), act()), out
    if kind == "separable":
        kernel, rate = draw(st.sampled_from([3, 5])), draw(st.integers(1, 3))
        spatial = nn.Conv2d(
            channels, channels, kernel, stride, rate * (kernel // 2), rate, groups=channels
        )
        return nn.Sequential(spatial, act(), nn.Conv2d(channels, out, 1)), out
    if kind == "inverted":
        wide = 2 * channels
        return _Residual(
            nn.Conv2d(channels, wide, 1), act(), nn.Conv2d(wide, wide, 3, 1, 1, groups=wide),
            nn.BatchNorm2d(wide), act(), nn.Conv2d(wide, channels, 1),
        ), channels  # fmt: skip
    if kind == "branch":
        left = nn.Conv2d(channels, out, 3, 1, 1)
        return nn.Sequential(_Branch(left, nn.Conv2d(channels, out, 1)), act()), out
    if kind == "excite":
        return _Excite(channels), channels
    if kind == "max":
        return nn.MaxPool2d(3, stride, 1), channels
    if kind == "adaptive":
        return nn.AdaptiveAvgPool2d((draw(st.integers(1, 4)), 5)), channels
    if kind == "average":
        return nn.AvgPool2d(2, 1, 1), channels
    if kind == "up":
        return nn.Sequential(nn.Conv2d(channels, 4 * out, 1), act(), nn.PixelShuffle(2)), out
    if kind == "down":
        squares = nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelUnshuffle(2))
        return nn.Sequential(nn.Conv2d(channels, out, 1), squares), 4 * out
    if kind == "gated":
        return nn.Sequential(nn.Conv2d(channels, 2 * out, 1), nn.GLU(1)), out
    if kind == "normed":
        function = draw(st.sampled_from(PER_PIXEL))
        return nn.Sequential(nn.Conv2d(channels, out, 1), Function(function)), out
    if kind == "sliced":
        rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        parts = Function(lambda x: x[:, :, ::rows, ::columns])
        return nn.Sequential(nn.Conv2d(channels, out, 1), parts), out
    if kind == "padded":
        pad = draw(st.sampled_from([nn.ReplicationPad2d(2), nn.CircularPad2d(1)]))
        return nn.Sequential(pad, nn.Conv2d(channels, out, 3, stride)), out
    return act(), channels


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, Tensor]:
    """A network and its image."""
    first = channels = draw(st.integers(1, 20))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    steps = []
    for kind in ["dense", *draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=6))]:
        step, channels = _step(draw, kind, channels)
        steps.append(step)
    middle = draw(st.none() | st.integers(0, len(steps) - 2))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return lively(Network(steps, middle)), torch.randn(draw(st.integers(1, 2)), first, *size)


@pytest.mark.parametrize("name", ISAS)
@examples(60, 5)
@given(given_=networks(), threads=st.integers(1, 3))
def test_network_as_float64(name: str, given_: tuple[Network, Tensor], threads: int) -> None:
    agree(*given_, able(name), threads)
