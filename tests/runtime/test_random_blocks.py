"""Blocks of any shape: their errors against float64 are like eager's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.kernels.isa import ISAS, choose_isa
from tests.runtime.agreement import agree
from tests.thoroughness import examples

ACTIVATIONS = [
    nn.Identity, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.GELU, nn.Sigmoid,
    nn.Tanh, lambda: nn.GELU(approximate="tanh"), lambda: nn.Hardtanh(-0.5, 2.0),
    nn.Mish, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.SELU, nn.CELU, nn.Hardshrink, nn.Softshrink,
    nn.LogSigmoid, nn.RReLU, lambda: nn.Threshold(0.1, -0.2), nn.PReLU,
]  # fmt: skip
CHANNELS = st.one_of(st.integers(1, 70), st.sampled_from([1, 2, 3, 15, 16, 17, 31, 37, 47, 53, 67]))


@dataclass
class Spec:
    """One block and its image; `repr` says all that is needed to see it again."""

    kind: str
    channels: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    bias: bool
    norm: bool
    activation: int
    middle: int
    residual: bool
    size: tuple[int, int]
    batch: int
    last: bool
    threads: int
    seed: int


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    one = st.integers(low, high)
    return st.one_of(one.map(lambda n: (n, n)), st.tuples(one, one))


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Any block that has an output."""
    kind = draw(st.sampled_from(["dense", "pointwise", "depthwise", "separable"]))
    kernel = (1, 1) if kind == "pointwise" else draw(_pairs(1, 5))
    stride, dilation = draw(_pairs(1, 3)), draw(_pairs(1, 4))
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    padding = draw(st.tuples(*(st.integers(0, s - 1) for s in span)))
    least = [max(1, s - 2 * p) for s, p in zip(span, padding)]
    size = draw(st.tuples(*(st.one_of(st.just(m), st.integers(m, m + 28)) for m in least)))
    inside = draw(CHANNELS)
    return Spec(
        kind,
        (inside, inside if kind == "depthwise" else draw(CHANNELS)),
        kernel,
        stride,
        dilation,
        padding,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, len(ACTIVATIONS) - 1)),
        draw(st.integers(0, len(ACTIVATIONS) - 1)),
        draw(st.booleans()),
        size,
        draw(st.integers(1, 3)),
        draw(st.booleans()),
        draw(st.integers(1, 3)),
        draw(st.integers(0, 2**31)),
    )


class Block(nn.Module):
    """Convolution, batch norm, activation, and the sum with another convolution."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        inside, out = spec.channels
        geometry = (spec.kernel, spec.stride, spec.padding, spec.dilation)
        if spec.kind in ("dense", "pointwise"):
            layers = [nn.Conv2d(inside, out, *geometry, bias=spec.bias)]
        else:
            layers = [nn.Conv2d(inside, inside, *geometry, groups=inside, bias=spec.bias)]
        if spec.kind == "separable":
            middle = nn.BatchNorm2d(inside), _activation(spec.middle, inside)
            layers += [*middle, nn.Conv2d(inside, out, 1, bias=spec.bias)]
        if spec.norm:
            layers.append(nn.BatchNorm2d(out))
        self.body = nn.Sequential(*layers)
        self.activation = _activation(spec.activation, out)
        self.skip = None
        if spec.residual:
            self.skip = nn.Conv2d(inside, out, *geometry)

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        found = self.body(x)
        return self.activation(found if self.skip is None else found + self.skip(x))


def _activation(number: int, channels: int) -> nn.Module:
    """One of them; a PReLU with a slope for each channel."""
    kind = ACTIVATIONS[number]
    return nn.PReLU(channels) if kind is nn.PReLU else kind()


def lively(net: nn.Module) -> nn.Module:
    """Statistics as after training."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.PReLU):
            nn.init.normal_(module.weight)
    return net.eval()


@pytest.mark.parametrize("name", ISAS)
@examples(120, 12, 200)
@given(spec=specs())
def test_block_as_float64(name: str, spec: Spec) -> None:
    isa = able(name)
    torch.manual_seed(spec.seed)
    net = lively(Block(spec))
    image = torch.randn(spec.batch, spec.channels[0], *spec.size)
    if spec.last:
        image = image.contiguous(memory_format=torch.channels_last)
    agree(net, image, isa, spec.threads)


def able(name: str) -> str:
    """The name of an instruction set, where this machine has it."""
    try:
        choose_isa(name)
    except ValueError as error:
        pytest.skip(f"this processor lacks {name}: {error}")
    return name
