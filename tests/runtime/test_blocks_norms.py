"""Norms by statistics of the image itself, and maps whose channels come last for a while."""

from __future__ import annotations

import copy
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
from tests.runtime.oracle import EPSILON, agree, agree_on_faults, few, image, kinds, with_faults
from tests.runtime.test_random_blocks import lively

sides = st.integers(1, 20)


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of each pixel, as timm and torchvision have it."""

    def forward(self, x: Tensor) -> Tensor:
        """Two permutations around PyTorch's."""
        x = F.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)


class Block(nn.Module):
    """ConvNeXt's (arXiv:2201.03545)."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up, self.down = nn.Linear(channels, wide), nn.Linear(wide, channels)
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The map, and what the block adds to it."""
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.down(F.gelu(self.up(y))) * self.gamma
        return x + y.permute(0, 3, 1, 2)


@few
@given(st.integers(1, 70), st.booleans(), sides, sides)
def test_norm_of_pixels(isa: Isa, channels: int, affine: bool, h: int, w: int) -> None:
    norm = LayerNorm2d(channels, elementwise_affine=affine)
    net = lively(
        nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), norm, nn.Conv2d(channels, 5, 1))
    )
    # The values of a pixel differ, and are far from zero.
    net[0].bias.data += 3 * torch.arange(channels) + 5
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=2)
    assert "NormalisedPixels" in kinds(compiled)


class Written(nn.Module):
    """A norm as networks write it down, operation by operation."""

    def __init__(self, channels: int, norm: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 5, 1)
        self.weight, self.bias = (nn.Parameter(torch.randn(channels)) for _ in range(2))
        self.norm = norm
        self.stem.bias.data += torch.arange(channels)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """The norm between two convolutions."""
        return self.last(self.norm(self.stem(x), self.weight, self.bias))


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    middle = x.mean(1, keepdim=True)
    spread = (x - middle).pow(2).mean(1, keepdim=True)
    normed = (x - middle) / torch.sqrt(spread + 1e-3)
    return weight[:, None, None] * normed + bias[:, None, None]


def _responses(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ConvNeXt V2's (arXiv:2301.00808), as timm has it."""
    length = x.norm(p=2, dim=(2, 3), keepdim=True)
    share = length / (length.mean(1, keepdim=True) + 1e-6)
    return x + torch.addcmul(bias.view(1, -1, 1, 1), weight.view(1, -1, 1, 1), x * share)


def _responses_last(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, the channels last, as its authors have it."""
    x = x.permute(0, 2, 3, 1)
    length = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
    share = length / (length.mean(dim=-1, keepdim=True) + 1e-6)
    y: Tensor = weight[None, None, None] * (x * share) + bias[None, None, None] + x
    return y.permute(0, 3, 1, 2)


def _root_mean_square(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    last = F.rms_norm(x.permute(0, 2, 3, 1), weight.shape, weight, 1e-3)
    return last.permute(0, 3, 1, 2)


WRITTEN = {
    "layer norm": _layer_norm,
    "responses": _responses,
    "responses, channels last": _responses_last,
    "root mean square": _root_mean_square,
    "length": lambda x, weight, bias: F.normalize(x, dim=1),
    "variance of channels": lambda x, w, b: (
        (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-3).sqrt()
    ),
    "deviation of channels": lambda x, w, b: x / (x.std(1, correction=0, keepdim=True) + 0.1),
    "variance of the map": lambda x, w, b: x / (x.var((2, 3), correction=0, keepdim=True) + 0.1),
    "deviation of the map": lambda x, w, b: (
        (x - x.mean((2, 3), True)) / (x.std((-1, -2), unbiased=False, keepdim=True) + 0.1)
    ),
    "least and largest": lambda x, w, b: (
        (x - x.amin((2, 3), True)) / (x.amax((2, 3), True) - x.amin((2, 3), True) + 0.1)
    ),
    "least channel": lambda x, w, b: x - x.min(1, keepdim=True)[0] + x.amin(1, keepdim=True),
    "softmax": lambda x, weight, bias: F.softmax(x * 0.1, 1),
    "log softmax": lambda x, weight, bias: F.log_softmax(x * 0.1, 1),
}


@pytest.mark.parametrize("name", WRITTEN)
@settings(few, max_examples=2)
@given(st.integers(1, 70), sides, sides, st.integers(1, 3))
def test_written_norm(isa: Isa, name: str, channels: int, h: int, w: int, threads: int) -> None:
    net = Written(channels, WRITTEN[name])
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=threads)
    assert not [why for why in compiled.reasons.values() if "computed" not in why]


@pytest.mark.parametrize("name", WRITTEN)
def test_written_norm_of_what_is_not_finite(isa: Isa, name: str) -> None:
    images = with_faults(image(3, 9, 8), 0, 1, 3, 4)
    agree_on_faults(Written(20, WRITTEN[name]), *images, isa=isa.name)


class Classes(nn.Module):
    """The class of each pixel, as segmentation gives it."""

    def __init__(self, channels: int, keepdim: bool) -> None:
        super().__init__()
        self.conv, self.keepdim = nn.Conv2d(3, channels, 3, padding=1), keepdim

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rounded values, some of which are alike, and the number of the largest."""
        y = self.conv(x).round()
        return y, y.argmax(1, keepdim=self.keepdim)


@few
@given(
    st.integers(1, 70), st.integers(1, 9), st.sampled_from([0.5, 0.75, 1.0]),
    st.sampled_from([1e-4, 0.5, 20.0]), st.sampled_from([0.1, 1.0, 2.0]), sides, sides,
)  # fmt: skip
def test_norm_by_the_channels_beside(
    isa: Isa, channels: int, size: int, beta: float, alpha: float, k: float, h: int, w: int
) -> None:
    norm = nn.LocalResponseNorm(size, alpha, beta, k)
    net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), norm, nn.MaxPool2d(1))
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=2)
    assert not compiled.reasons
    assert "Responses" in kinds(compiled)


def test_norm_by_the_channels_beside_that_kernels_lack(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LocalResponseNorm(5, beta=0.6), nn.Conv2d(8, 4, 1))
    compiled = agree(net, image(3, 9, 8), regions=None, isa=isa.name)
    assert "no kernel for its exponent, 0.6" in compiled.reasons.values()


def test_norm_by_channels_that_are_not_finite(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 20, 1, groups=1), nn.LocalResponseNorm(3))
    agree_on_faults(net, *with_faults(image(3, 9, 8), 0, 1, 3, 4), isa=isa.name)


@few
@given(st.integers(1, 70), st.booleans(), sides, sides, st.integers(1, 3))
def test_largest_channel(
    isa: Isa, channels: int, keepdim: bool, h: int, w: int, threads: int
) -> None:
    net, x = lively(Classes(channels, keepdim)), image(3, h, w)
    x[0, :, h // 2, w // 2] = torch.nan
    compiled = compile(net, x, isa=isa.name, threads=threads)
    assert "LargestPlace" in kinds(compiled)
    with torch.no_grad():
        values, places = compiled(x)
    right = values.argmax(1, keepdim=keepdim)
    assert places.dtype == torch.int64
    assert torch.equal(places, right)


def test_softmax_of_vectors_and_of_large_numbers(isa: Isa) -> None:
    layers = [nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1000)]
    net = nn.Sequential(*layers, nn.Softmax(-1)).eval()
    net[3].weight.data *= 300
    compiled = agree(net, image(3, 9, 8), isa=isa.name, regions=None)
    assert not [why for why in compiled.reasons.values() if "softmax" in why]


@few
@given(st.integers(1, 33), st.integers(1, 70), sides, sides)
def test_block_of_convnext(isa: Isa, channels: int, wide: int, h: int, w: int) -> None:
    net = lively(nn.Sequential(nn.Conv2d(3, channels, 2, 2), Block(channels, wide)))
    net[0].bias.data += torch.arange(channels)
    compiled = agree(net, image(3, h + 1, w + 1), isa=isa.name)
    assert set(kinds(compiled)) <= {
        "Input", "Output", "dense", "depthwise", "NormalisedPixels", "pointwise"
    }  # fmt: skip


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "groups": lambda groups, each: nn.GroupNorm(groups, groups * each),
    "groups alone": lambda groups, each: nn.GroupNorm(groups, groups * each, affine=False),
    "one group": lambda groups, each: nn.GroupNorm(1, groups * each, eps=1e-3),
    "each channel": lambda groups, each: nn.InstanceNorm2d(groups * each, affine=True),
    "each channel alone": lambda groups, each: nn.InstanceNorm2d(groups * each),
}


@few
@given(
    st.sampled_from(sorted(NORMS)), st.integers(1, 9), st.integers(1, 9), st.integers(3, 20),
    st.integers(3, 20), st.booleans(),
)  # fmt: skip
def test_norm_over_the_map(
    isa: Isa, name: str, groups: int, each: int, h: int, w: int, after: bool
) -> None:
    norm = NORMS[name](groups, each)
    layers = [nn.Conv2d(3, groups * each, 3, padding=1), norm, *([nn.SiLU()] if after else [])]
    net = lively(nn.Sequential(*layers, nn.Conv2d(groups * each, 5, 3, 2, 1)))
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=2)
    assert "Normalised" in kinds(compiled)


def test_instance_norm_by_statistics_that_were_kept(isa: Isa) -> None:
    norm = nn.InstanceNorm2d(20, affine=True, track_running_stats=True)
    net = lively(nn.Sequential(nn.Conv2d(3, 20, 3), norm, nn.ReLU()))
    norm.running_mean.normal_()  # type: ignore[union-attr]
    norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    compiled = agree(net, image(3, 9, 8), isa=isa.name)
    assert kinds(compiled) == ["Input", "dense", "Output"]


@pytest.mark.parametrize("name", NORMS)
def test_norm_of_values_far_from_zero(isa: Isa, name: str) -> None:
    """Their mean is fifty times their deviation: a mean of squares would have cancelled."""
    net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), lively(NORMS[name](4, 6)))
    net[0].bias.data += 30
    x = image(3, 31, 23)
    found = compile(net.eval(), x, isa=isa.name)(x)
    with torch.no_grad():
        exact = copy.deepcopy(net).double()
        eager, right = net(x), exact(x.double())
        values = exact[0](x.double())
        # Numbers as large as the mean are rounded, then divided by the deviation.
        few = 4 * EPSILON * values.abs().max() / values.std((2, 3)).min()
        mine, usual = ((value - right).abs().max() for value in (found, eager))
        assert mine <= max(2 * usual, few)
        assert few < 1e-4


def test_norm_with_a_residual_and_two_readers(isa: Isa) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(8, 32)
            self.head = nn.Conv2d(32, 8, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.stem(x)
            y = F.relu(self.norm(x) + x)
            return self.head(y), y * 2

    agree(lively(Two()), image(3, 13, 11), isa=isa.name, threads=3)


@pytest.mark.parametrize("norm", [LayerNorm2d(20), nn.GroupNorm(4, 20), nn.InstanceNorm2d(20)])
def test_norm_of_what_is_not_finite(isa: Isa, norm: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(3, 20, 1), norm, nn.Conv2d(20, 4, 1))
    agree_on_faults(net, *with_faults(image(3, 9, 8), 0, 1, 3, 4), isa=isa.name)


class Last(nn.Module):
    """Values with the channels last, which others read, too, and which are outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 4, 3, padding=1)
        self.norm, self.mix = nn.LayerNorm(16), nn.Linear(16, 8)
        self.shift = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Some of them change places of pixels, for which there is no operation of maps."""
        last = self.stem(x).movedim(1, -1)
        normed = self.norm(last + last.sin()) - self.shift
        mixed = self.mix(F.relu(normed))
        both = torch.cat([mixed[..., :3], mixed[..., 3:]], -1)
        return {
            "normed": normed,
            "rolled": mixed.roll(1, 1) * 2,
            "head": self.head(both.permute(0, 3, 1, 2)),
            "sum": mixed.sum((1, 2)),
        }


def test_values_with_the_channels_last_are_those_that_the_model_gives(isa: Isa) -> None:
    net = Last().eval()
    for size in ((9, 8), (5, 12)):
        x = image(3, *size)
        fast = compile(net, (1, 3, 9, 8), isa=isa.name)
        with torch.no_grad():
            found, eager, right = fast(x), net(x), copy.deepcopy(net).double()(x.double())
        assert list(found) == list(eager)
        for name, value in right.items():
            assert found[name].shape == value.shape
            error, usual = (float((v[name] - value).norm() / value.norm()) for v in (found, eager))
            assert error <= 2 * usual + 1.2e-7, name


def test_weights_that_change_are_taken_over(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), LayerNorm2d(8), Block(8, 12)).eval()
    x = image(3, 9, 9)
    fast = compile(net, x, isa=isa.name)
    for parameter in net.parameters():
        with torch.no_grad():
            parameter += 0.5
            assert torch.allclose(fast(x), net(x), atol=1e-4), parameter.shape
