"""Gates that a model computes as vectors: in the region of the map that they gate."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from tests.runtime.oracle import agree, few, image

sides = st.integers(1, 14)


class Windowed(nn.Module):
    """ECA (arXiv:1910.03151): a window over the channels' means."""

    def __init__(self, channels: int, taps: int, bias: bool, expanded: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=bias)
        self.expanded = expanded

    def forward(self, x: Tensor) -> Tensor:
        """The map, each channel times its gate."""
        y = self.conv(x.mean((2, 3)).view(x.shape[0], 1, -1)).sigmoid().view(x.shape[0], -1, 1, 1)
        return x * y.expand_as(x) if self.expanded else y * x


class Linear(nn.Module):
    """Squeeze and excite (arXiv:1709.01507) by linear layers, written in several ways."""

    def __init__(self, channels: int, few: int, way: str) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, few), nn.Linear(few, channels)
        self.norm, self.way = nn.BatchNorm1d(few), way

    def forward(self, x: Tensor) -> Tensor:
        """The map, each channel times its gate."""
        n, c = x.shape[:2]
        if self.way == "flatten":
            y = F.adaptive_avg_pool2d(x, 1).flatten(1)
        elif self.way == "view":
            y = F.adaptive_avg_pool2d(x, 1).view(n, c)
        else:
            y = x.mean(dim=(-1, -2))
        y = self.excite(F.relu(self.norm(self.squeeze(y)) + 0.1)).sigmoid()
        if self.way == "flatten":
            return x * y[:, :, None, None]
        if self.way == "view":
            return x * y.view(n, c, 1, 1)
        return x * y.unsqueeze(-1).unsqueeze(-1).expand(x.shape)


@few
@given(
    st.integers(1, 70), st.sampled_from([1, 3, 5, 9]), st.booleans(), st.booleans(), sides, sides
)
def test_window_over_channels(
    isa: Isa, channels: int, taps: int, bias: bool, expanded: bool, h: int, w: int
) -> None:
    gate = Windowed(channels, taps, bias, expanded)
    net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), gate, nn.Conv2d(channels, 5, 1))
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=2)
    assert not compiled.reasons


@few
@given(
    st.integers(1, 50), st.integers(1, 20), st.sampled_from(["flatten", "view", "mean"]),
    sides, sides,
)  # fmt: skip
def test_linear_layers_of_a_mean(
    isa: Isa, channels: int, few: int, way: str, h: int, w: int
) -> None:
    gate = Linear(channels, few, way)
    nn.init.normal_(gate.norm.running_mean)
    net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), gate, nn.Conv2d(channels, 5, 1))
    agree(net, image(3, h, w), isa=isa.name)


class Read(nn.Module):
    """Vectors that others read, too, and views that are no gates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Conv2d(3, 16, 3), nn.Linear(16, 16)
        self.window, self.even = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 4, padding=2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """All of them."""
        x = self.stem(x)
        mean = x.mean((2, 3))
        y = self.gate(mean)
        shuffled = y.view(-1, 4, 4).transpose(1, 2).reshape(-1, 16, 1, 1)
        longer = self.even(y.unsqueeze(1))
        return {
            "gated": x * torch.sigmoid(y)[..., None, None],
            "windowed": x * self.window(y[:, None]).view(-1, 16, 1, 1),
            "shuffled": x * shuffled,
            "longer": longer,
            "vectors": mean + y,
            "rows": y.view(-1, 16, 1) * mean[:, None],
            "square": y.view(-1, 4, 4),
        }


def test_vectors_that_others_read(isa: Isa) -> None:
    net = Read().eval()
    fast = compile(net, (2, 3, 9, 8), isa=isa.name)
    for batch, *size in ((2, 9, 8), (1, 5, 12), (16, 6, 6)):
        x = torch.randn(batch, 3, *size)
        with torch.no_grad():
            found, right = fast(x), net(x)
        for name, value in right.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)
