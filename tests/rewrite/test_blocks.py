"""Networks cut into blocks: where, and that the blocks in a row are the network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from convsmith.network import trace, untouched
from convsmith.network.modules import copied
from convsmith.rewrite.lightening.candidates import candidates
from convsmith.rewrite.lightening.fit.blocks import blocks_of
from convsmith.rewrite.lightening.fit.fisher import importance
from convsmith.rewrite.lightening.fit.replay import Replay, seconds_of
from convsmith.rewrite.lightening.forms import Form
from convsmith.rewrite.surgery import replace


def step(m, n, stride=1, **options):
    return nn.Sequential(
        nn.Conv2d(m, n, 3, stride, 1, bias=False, **options), nn.BatchNorm2d(n),
        nn.ReLU(inplace=True),
    )  # fmt: skip


class Residual(nn.Module):
    """A residual block with a shortcut of its own where the map changes."""

    def __init__(self, m, n, stride=1):
        super().__init__()
        self.first, self.second = step(m, n, stride), nn.Conv2d(n, n, 3, padding=1)
        self.norm = nn.BatchNorm2d(n)
        same = m == n and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(m, n, 1, stride)

    def forward(self, x):
        return F.relu(self.norm(self.second(self.first(x))) + self.shortcut(x))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([self.double(2, 6), self.double(6, 8), self.double(8, 10)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(10, 8, 2, 2), nn.ConvTranspose2d(8, 6, 2, 2)])
        self.join = nn.ModuleList([self.double(16, 8), self.double(12, 6)])
        self.head = nn.Conv2d(6, 3, 1)

    @staticmethod
    def double(m, n):
        return nn.Sequential(step(m, n), step(n, n))

    def forward(self, x):
        a = self.down[0](x)
        b = self.down[1](F.max_pool2d(a, 2))
        y = self.up[0](self.down[2](F.max_pool2d(b, 2)))
        y = self.up[1](self.join[0](torch.cat([b, y], 1)))
        return self.head(self.join[1](torch.cat([a, y], 1)))


class Odd(nn.Module):
    """Padding of the convolution's own, parts of a list, a weight made from others, two answers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(6, 8, (3, 2), padding="same")
        self.cut = nn.Conv2d(8, 8, 3)
        prune.l1_unstructured(self.cut, "weight", 0.5)
        self.gate = nn.Linear(8, 8)
        self.last = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3))

    def forward(self, x):
        y = F.relu(self.same(torch.tanh(self.first(x))), inplace=True)
        y = self.cut(y)
        y = y * torch.sigmoid(self.gate(y.mean((2, 3))))[:, :, None, None]
        one, two = y.chunk(2, 1)
        y = one + F.silu(two)
        return self.last(y), y.flatten(1).view(x.shape[0], -1).sum(1)


def residual():
    return nn.Sequential(
        step(2, 6), Residual(6, 6), Residual(6, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(8, 4),
    )  # fmt: skip


def vgg():
    return nn.Sequential(
        step(2, 6), step(6, 6), nn.MaxPool2d(2), step(6, 8), step(8, 8), nn.MaxPool2d(2),
        step(8, 8), step(8, 8), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


NETWORKS = {"residual": residual, "unet": UNet, "vgg": vgg, "odd": Odd}


def made(name):
    torch.manual_seed(0)
    model = NETWORKS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def cut(model, images):
    network = trace(model, images)
    free = [c for c in candidates(network, model, None) if not c.reason]
    names = {c.layer.name: c.path for c in free}
    return network, free, names, blocks_of(network, names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("residual", [["0.0"], ["1.first.0", "1.second"], ["2.first.0", "2.second"], []]),
        ("vgg", [["0.0", "1.0"], ["3.0", "4.0"], ["6.0", "7.0"]]),
        (
            "unet",
            [
                ["down.0.0.0", "down.0.1.0"], ["down.1.0.0", "down.1.1.0"],
                ["down.2.0.0", "down.2.1.0", "up.0"], ["join.0.0.0", "join.0.1.0", "up.1"],
                ["join.1.0.0", "join.1.1.0"],
            ],
        ),
    ],
)  # fmt: skip
def test_blocks_end_at_joins(name, expected):
    """A residual block, a stage, the two convolutions of a level."""
    found = cut(made(name), torch.rand(4, 2, 8, 8))[-1]
    layers = [list(block.layers) for block in found]
    while layers and not layers[-1] and expected[-1]:
        layers.pop()
    assert layers == expected


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lighter", [False, True])
def test_the_blocks_in_a_row_are_the_network(name, lighter):
    """Bit by bit, with lighter layers in it or without."""
    images = torch.rand(12, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    model = made(name)
    network, free, _, blocks = cut(model, images[:4])
    run = model
    form, names = Form("depthwise_pointwise"), {}
    if lighter:
        run = copied(model)
        for c in free:
            if ranks := form.ranks(c.conv, c.size):
                replace(run, c.path, form.make(c.conv, ranks[0]))
                names[c.layer.name] = c.path
        assert names
    replay = Replay(network, run, names)
    (node,) = replay.inputs
    values, given = {node: images}, images.clone()
    for block in blocks:
        values = replay.all(block, values, 4)
    with untouched(run), torch.no_grad():
        parts = [run(part) for part in images.split(4)]
    parts = [(part,) if isinstance(part, torch.Tensor) else part for part in parts]
    for ours, theirs in zip(values.values(), zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.cat(theirs), rtol=1e-6, atol=1e-6)
    assert torch.equal(images, given), "blocks may write only into copies"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_belongs_to_one_block(name):
    model = made(name)
    network, _, names, blocks = cut(model, torch.rand(4, 2, 8, 8))
    replay = Replay(network, model, names)
    found = [key for block in blocks for key in replay.weights(block)]
    assert len(found) == len(set(found))
    assert set(found) == {key for key, _ in model.named_parameters()}


def test_importance_is_the_diagonal_of_fishers_information():
    """Of a linear classifier it is known: what a class takes from the others, p·(1 - p)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0]))
    images = 0.1 * torch.rand(2**15, 2, 1, 1)
    network = trace(model, images[:512])
    blocks = blocks_of(network, {"0": "0"})
    replay = Replay(network, model, {})
    (found,) = importance(replay, blocks, images.split(512), 0)[0].values()
    chances = model(images).softmax(1)
    exact = (chances * (1 - chances)).mean(0).detach()
    torch.testing.assert_close(found.flatten(), exact / exact.mean(), rtol=0.1, atol=0.02)


def test_seconds_are_counted_and_not_measured():
    """The same network takes the same, and four times the places about four times as long."""
    model, found = made("vgg")[:3], []
    for side in (32, 32, 64):
        images = torch.rand(4, 2, side, side)
        network, _, names, blocks = cut(model, images)
        replay = Replay(network, model, names)
        (node,) = replay.inputs
        seconds, _ = seconds_of(replay, blocks[0], {node: images})
        found.append(seconds)
    assert found[0] == found[1]
    assert found[2] == pytest.approx(4 * found[0], rel=0.1)
