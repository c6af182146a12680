"""What is known to follow a layer, and that refits go by it."""

from __future__ import annotations

from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convsmith.network import trace
from convsmith.rewrite.lightening.fit.following import following


class Net(nn.Module):
    """A convolution, a batch norm that is not the identity, and what is to follow them."""

    def __init__(self, after, twice=False):
        super().__init__()
        self.conv, self.norm, self.after = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), after
        self.twice = twice
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)
        nn.init.normal_(self.norm.bias)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return self.after(y) + y if self.twice else self.after(y)


def found(net):
    net = net.eval()
    network = trace(net, (1, 3, 9, 9))
    (conv,) = [layer for layer in network if layer.kind == "convolution"]
    return following(network, conv, net)


@pytest.mark.parametrize(
    "after",
    [
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), nn.LeakyReLU(0.3),
        nn.GELU(approximate="tanh"), lambda y: F.elu(y, 0.5), lambda y: y.clamp(-0.2, 0.7),
    ],
)  # fmt: skip
def test_a_norm_and_an_activation_are_one_function(after):
    net = Net(after)
    call = found(net)
    maps = torch.randn(2, 4, 5, 5)
    held = maps.clone()
    with torch.no_grad():
        assert torch.equal(call(maps), after(net.norm(held.clone())))
    assert torch.equal(maps, held)


@pytest.mark.parametrize(
    ("after", "limits"),
    [
        (nn.ReLU(inplace=True), (0, inf)), (nn.ReLU6(), (0, 6)), (nn.Hardtanh(-2, 3), (-2, 3)),
        (nn.Hardtanh(), (-1, 1)), (lambda y: y.clamp(-0.2, 0.7), (-0.2, 0.7)),
        (lambda y: y.clamp(max=1), (-inf, 1)), (lambda y: y.clamp_min_(-1), (-1, inf)),
        (nn.Hardswish(), None), (nn.LeakyReLU(0.3), None), (lambda y: y.clamp(2, 1), None),
    ],
)  # fmt: skip
def test_what_only_cuts_off_is_known(after, limits):
    net = Net(after)
    call = found(net)
    assert call.limits == limits
    maps = torch.randn(2, 4, 5, 5)
    scale, shift = (v[:, None, None].float() for v in call.affine(4))
    with torch.no_grad():
        assert torch.allclose(maps * scale + shift, net.norm(maps), atol=1e-5)
        if limits:
            assert torch.allclose(call(maps), (maps * scale + shift).clamp(*limits), atol=1e-5)


@pytest.mark.parametrize(
    "net",
    [Net(nn.ReLU(), twice=True), Net(nn.Identity()), Net(nn.PReLU()), Net(nn.MaxPool2d(2))],
    ids=["wanted twice", "nothing", "learned", "pool"],
)
def test_nothing_else_is(net):
    assert found(net) is None
