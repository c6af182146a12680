"""Networks over one axis, which kernels compute as maps of one row."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from tests.runtime.oracle import agree as agree_of_oracle
from tests.runtime.oracle import agree_on_faults, few, kinds
from tests.runtime.test_random_blocks import lively
from tests.thoroughness import thinned


def lines(channels: int, length: int) -> Tensor:
    """Random values, of several lines."""
    made = torch.Generator().manual_seed(0)
    return torch.randn(max(2, 200 // length), channels, length, generator=made)


def _agree(net: nn.Module, x: Tensor, isa: Isa, threads: int = 2) -> None:
    compiled = agree_of_oracle(lively(net), x, isa=isa.name, threads=threads)
    left = {name: why for name, why in compiled.reasons.items() if "computed" not in why}
    assert all("squeeze" in name for name in left), left


@few
@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.booleans(),
    st.integers(1, 40), st.integers(1, 3),
)  # fmt: skip
def test_convolutions(
    isa: Isa,
    channels: int,
    kernel: int,
    stride: int,
    rate: int,
    deep: bool,
    more: int,
    threads: int,
) -> None:
    length = rate * (kernel - 1) + more
    groups = channels if deep else 1
    layers = [
        nn.Conv1d(3, channels, 3, padding="same"),
        nn.BatchNorm1d(channels),
        nn.ReLU(),
        nn.Conv1d(channels, channels, kernel, stride, 1, rate, groups),
        nn.ConvTranspose1d(channels, 4, 4, 2, 1),
    ]
    _agree(nn.Sequential(*layers), lines(3, length), isa, threads)


class Line(nn.Module):
    """A convolution, something else, and another convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.other = nn.Conv1d(3, 16, 3, padding=1), nn.LazyConv1d(5, 3, padding=1)
        self.function = function
        self(torch.zeros(1, 3, 32))

    def forward(self, x: Tensor) -> Tensor:
        """The value of the second one."""
        return self.other(self.function(self.one(x)))


BETWEEN = {
    "max": lambda x: F.max_pool1d(x, 3, 2, 1, ceil_mode=True),
    "average": lambda x: F.avg_pool1d(x, 2),
    "adaptive": lambda x: F.adaptive_avg_pool1d(x, 5),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "linear": lambda x: F.interpolate(x, scale_factor=2.0, mode="linear"),
    "gate": lambda x: x * F.adaptive_avg_pool1d(x, 1).sigmoid(),
    "glu": lambda x: F.glu(x, 1),
    "wavenet": lambda x: torch.tanh(x[:, :8]) * torch.sigmoid(x[:, 8:]) + x[:, 4:12],
    "chunks": lambda x: torch.cat([*x.chunk(3, 1)[::-1], x], 1),
    "reflected": lambda x: F.pad(x, (2, 3), mode="reflect"),
    "causal": lambda x: F.pad(x, (4, 0)),
    "group norm": lambda x: F.group_norm(x, 4),
    "softmax": lambda x: F.softmax(x, 1),
    "scaled": lambda x: 2 - x / 3,
    "nothing": lambda x: F.dropout(x.contiguous(), training=False),
    "snake": lambda x: x + x.exp(),
}


@pytest.mark.parametrize("name", thinned(BETWEEN, 2))
def test_between_two_convolutions(isa: Isa, name: str) -> None:
    _agree(Line(BETWEEN[name]), lines(3, 31), isa)


def test_other_lengths_and_the_pooled_end(isa: Isa) -> None:
    layers = [nn.Conv1d(1, 24, 9, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(24, 4)).eval()
    fast = compile(net, lines(1, 64), isa=isa.name)
    assert "dense" in kinds(fast)
    for shape in ((3, 1, 64), (1, 1, 501), (5, 1, 7)):
        x = torch.randn(shape)
        with torch.no_grad():
            found, eager, right = fast(x), net(x), copy.deepcopy(net).double()(x.double())
        error, usual = (float((v - right).norm() / right.norm()) for v in (found, eager))
        assert error <= 2 * usual + 1.2e-7


def test_what_is_given_outside_is_a_line(isa: Isa) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv1d(3, 16, 3), nn.Conv1d(16, 16, 3, padding=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Values of the middle, also by an operation that stays in torch."""
            y = self.one(x)
            return y, y.flip(2) * 2, self.other(y) + y

    agree_of_oracle(Two(), lines(3, 20), regions=None, isa=isa.name)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_not_finite(isa: Isa, value: float) -> None:
    x = lines(3, 20)
    x[0, 1, 7] = value
    agree_on_faults(nn.Sequential(nn.Conv1d(3, 8, 3), nn.MaxPool1d(2)), x, isa=isa.name)
