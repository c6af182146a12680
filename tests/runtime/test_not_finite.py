"""NaN and infinities come out where eager has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from tests.runtime.test_random_blocks import ACTIVATIONS, lively

NETS = {
    "dense": lambda: nn.Conv2d(3, 20, 3, padding=1),
    "pointwise": lambda: nn.Sequential(nn.Conv2d(3, 20, 1), nn.ReLU(), nn.Conv2d(20, 7, 1)),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=2, dilation=2, groups=3), nn.BatchNorm2d(3), nn.ReLU6()
    ),
    "separable": lambda: nn.Sequential(
        nn.Conv2d(3, 3, 3, 2, 1, groups=3), nn.ReLU(), nn.Conv2d(3, 20, 1), nn.ReLU()
    ),
    "pool": lambda: nn.Sequential(nn.Conv2d(3, 20, 1), nn.MaxPool2d(3, 2, 1)),
    "average": lambda: nn.Sequential(nn.Conv2d(3, 20, 1), nn.AvgPool2d(3, 2, 1)),
    "mean": lambda: nn.Sequential(nn.Conv2d(3, 20, 1), nn.AdaptiveAvgPool2d(1)),
    **{
        name: lambda act=act: nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), act())  # type: ignore[misc]
        for name, act in {
            "relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish,
            "hardsigmoid": nn.Hardsigmoid, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
        }.items()
    },
}  # fmt: skip


def _kinds(value: Tensor) -> Tensor:
    return torch.where(value.isnan(), 2, value.isposinf().int() - value.isneginf().int())


@pytest.mark.parametrize("name", NETS)
def test_position(name: str, isa: Isa) -> None:
    net = lively(NETS[name]())
    image = torch.randn(2, 3, 19, 23)
    fast = compile(net, image, isa=isa.name, threads=2)
    assert fast.regions
    for value in (torch.nan, torch.inf, -torch.inf):
        image[0, 1, 7, 11] = image[0, 2, 0, 22] = value
        found = fast(image)
        with torch.no_grad():
            wanted = net(image)
        assert not wanted[1].isnan().any()
        assert torch.equal(_kinds(found), _kinds(wanted)), value
        finite = wanted.isfinite()
        torch.testing.assert_close(found[finite], wanted[finite], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_next_call_is_clean(value: float, isa: Isa) -> None:
    net = lively(nn.Sequential(nn.Conv2d(3, 20, 3, 1, 1), nn.MaxPool2d(3, 1, 1)))
    image = torch.randn(1, 3, 19, 23)
    fast = compile(net, image, isa=isa.name)
    wanted = fast(image)
    fast(torch.full_like(image, value))
    assert torch.equal(fast(image), wanted), "something of the call before was left in a ring"


def test_weights_that_are_not_finite(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), nn.ReLU()).eval()
    with torch.no_grad():
        net[0].weight[4, 1, 1, 1] = torch.nan
        net[0].weight[5, 1, 1, 1] = torch.inf
        net[0].bias[6] = -torch.inf
    image = torch.randn(1, 3, 9, 11)
    found = compile(net, image, isa=isa.name)(image)
    assert torch.equal(_kinds(found), _kinds(net(image).detach()))


class Gated(nn.Module):
    """Each channel times a number of the image, then an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.gate, self.activation = (
            nn.Conv2d(3, 20, 1),
            nn.Conv2d(20, 20, 1),
            activation,
        )

    def forward(self, x: Tensor) -> Tensor:
        """The activation of the gated map."""
        x = self.conv(x)
        return self.activation(x * self.gate(x.mean((2, 3), keepdim=True)))


ENDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "dense": lambda act: nn.Sequential(nn.Conv2d(3, 20, 3, padding=1), act),
    "pointwise": lambda act: nn.Sequential(nn.Conv2d(3, 20, 1), act),
    "one tap": lambda act: nn.Sequential(nn.Conv2d(3, 20, 1), nn.ReLU(), nn.ReLU6(), act),
    "depthwise": lambda act: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), act),
    "large depthwise": lambda act: nn.Sequential(nn.Conv2d(3, 3, 9, padding=4, groups=3), act),
    "grouped": lambda act: nn.Sequential(
        nn.Conv2d(3, 20, 1), nn.Conv2d(20, 20, 3, padding=1, groups=4), act
    ),
    "middle": lambda act: nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, groups=3), act, nn.Conv2d(3, 20, 1)
    ),
    "separable": lambda act: nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 20, 1), act
    ),
    "transposed": lambda act: nn.Sequential(nn.ConvTranspose2d(3, 20, 4, 2, 1), act),
    "mean": lambda act: nn.Sequential(nn.Conv2d(3, 20, 1), nn.AdaptiveAvgPool2d(1), act),
    "average": lambda act: nn.Sequential(nn.Conv2d(3, 20, 1), nn.AvgPool2d(3, 2, 1), act),
    "group norm": lambda act: nn.Sequential(nn.Conv2d(3, 20, 1), nn.GroupNorm(4, 20), act),
    "gate": Gated,
}
"""Networks that end in an activation of what each kind of kernel computes."""

EVERY = [make() for make in ACTIVATIONS]
ALWAYS = (nn.ReLU, nn.Sigmoid, nn.GELU)
# The compiler sees their sums beside what follows.
BARE = ("depthwise", "mean", "gate", "separable")
PAIRS = [(e, a) for e in ENDS for a in EVERY if e in BARE or isinstance(a, ALWAYS)]


@pytest.mark.parametrize(
    ("end", "activation"),
    [
        pytest.param(*pair, marks=() if isinstance(pair[1], ALWAYS) else pytest.mark.slow)
        for pair in PAIRS
    ],
    ids=lambda each: str(each),
)
def test_activation_of_a_nan(end: str, activation: nn.Module, isa: Isa) -> None:
    """The compiler takes sums to be numbers: none of it may lose one that is not."""
    net = lively(ENDS[end](activation))
    image = torch.randn(2, 3, 12, 14)
    image[0, 1, 3, 5] = torch.nan
    with torch.no_grad():
        wanted = net(image).isnan()
    assert wanted[0].any() and not wanted[1].any()
    assert torch.equal(compile(net, image, isa=isa.name)(image).isnan(), wanted)
