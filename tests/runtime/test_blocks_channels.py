"""Channels cut out or interleaved, numbers for each channel, weights that are computed."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from convsmith.kernels.isa import Isa
from tests.runtime.oracle import agree, few, image, kinds

sides = st.integers(1, 14)


class Parts(nn.Module):
    """A map in two parts of any size, each of which has readers of every kind."""

    def __init__(self, first: int, second: int, tuples: bool) -> None:
        super().__init__()
        self.sizes, self.tuples = (first, second), tuples
        self.stem = nn.Conv2d(3, first + second, 3, padding=1)
        self.deep = nn.Conv2d(second, second, 3, padding=1, groups=second)
        self.point, self.dense = nn.Conv2d(second, 7, 1), nn.Conv2d(first, 5, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.relu(self.stem(x))
        a, b = (
            x.split(self.sizes, 1)
            if self.tuples
            else (x[:, : self.sizes[0]], x[:, self.sizes[0] :])
        )
        deep = self.deep(b)
        return self.point(deep), self.dense(a), F.max_pool2d(b, 3, 2, 1), torch.cat([deep, a], 1), x


@few
@given(st.integers(1, 40), st.sampled_from([1, 3, 8, 16, 32, 48, 37]), st.booleans(), sides, sides)
def test_parts_of_channels(isa: Isa, first: int, second: int, tuples: bool, h: int, w: int) -> None:
    agree(Parts(first, second, tuples), image(3, h, w), isa=isa.name, threads=2)


def test_parts_that_fill_vectors_are_not_copied(isa: Isa) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 64, 1), nn.Conv2d(32, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(x).chunk(2, 1)[1])

    compiled = agree(Half(), image(3, 9, 8), isa=isa.name)
    assert "Copied" not in kinds(compiled)


def test_a_part_that_is_an_output_keeps_what_it_is_cut_from(isa: Isa) -> None:
    """A pointwise convolution takes the depthwise one before it over, unless that is read."""

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep, self.point = nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 8, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            x = self.deep(x)
            return self.point(x), x[:, :16], x[:, 16:32][:, :16]

    agree(Seen(), image(32, 9, 8), isa=isa.name)


class Shuffled(nn.Module):
    """A channel shuffle as ShuffleNet writes it, or as PyTorch's operation."""

    def __init__(self, channels: int, groups: int, by_views: bool) -> None:
        super().__init__()
        self.groups, self.by_views = groups, by_views
        self.stem, self.head = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        if self.by_views:
            n, c, h, w = x.shape
            x = x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).contiguous()
            x = x.view(n, c, h, w)
        else:
            x = F.channel_shuffle(x, self.groups)
        return self.head(x), x


@few
@given(st.integers(1, 24), st.integers(1, 5), st.booleans(), sides, sides)
def test_channel_shuffle(isa: Isa, each: int, groups: int, by_views: bool, h: int, w: int) -> None:
    model = Shuffled(each * groups, groups, by_views)
    moved = 1 < groups < each * groups  # views that move nothing are left to torch
    agree(model, image(3, h, w), regions=1 if moved or not by_views else None, isa=isa.name)


def test_a_number_that_is_computed_is_left_to_torch(isa: Isa) -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.conv(x)
            return torch.add(y, 1.5, alpha=x.shape[2]), y * x.shape[3] + y.sum()

    model, wide = Computed().eval(), torch.randn(2, 3, 12, 5)
    compiled = agree(model, image(3, 9, 8), regions=None, isa=isa.name)
    for mine, theirs in zip(compiled(wide), model(wide), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)


class Standardised(nn.Conv2d):
    """Weights with mean 0 and deviation 1, as NFNet and BiT have them."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0)
        return self._conv_forward(x, weight.reshape_as(self.weight), self.bias)


COMPUTED = {
    "standardised": lambda: Standardised(3, 8, 3),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 8, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)),
    "transposed": lambda: parametrizations.weight_norm(nn.ConvTranspose2d(3, 8, 2, 2)),
}


@pytest.mark.parametrize("which", COMPUTED)
def test_computed_weights(isa: Isa, which: str) -> None:
    model = nn.Sequential(COMPUTED[which](), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    compiled = agree(model, image(3, 9, 8), isa=isa.name)
    assert len(compiled.regions) == 1
    assert not compiled.reasons
    with torch.no_grad():  # what weights are computed from is watched as weights are
        for parameter in model[0].parameters():
            parameter.mul_(1.5).add_(0.1)
    x = image(3, 11, 10)
    assert torch.allclose(compiled(x), model(x), atol=1e-5)
