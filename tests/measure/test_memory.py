"""The static peak against every storage a real pass makes, seen as it comes and as it goes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from benchmarks.meter import Meter
from convsmith.errors import ArgumentError
from convsmith.measure.memory import memory
from convsmith.network import Network
from tests import networks
from tests.thoroughness import examples, thinned


def measured(model, *inputs):
    model.eval()
    with torch.no_grad(), Meter(*inputs, *model.parameters(), *model.buffers()) as meter:
        model(*inputs)
    return meter.peak


def agrees(model, *inputs):
    report = memory(cs.trace(model, inputs))
    assert report.activations == measured(model, *inputs)
    assert report.activations == sum(tensor.bytes for tensor in report.alive)
    assert report.activations == max(report.during.values()) == report.during[report.layer]
    return report


@pytest.mark.parametrize(
    "name", thinned(["resnet18", "resnet50", "vgg16", "mobilenet_v1", "mobilenet_v2"], 2)
)
def test_published_networks(name):
    agrees(getattr(networks, name)(), torch.randn(1, 3, 64, 48))


class Bodies(nn.Module):
    """A forward pass given as a function."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.body = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.body(self, x)


def kept(m, x):
    a = x * 2
    b = a + 1
    c = b * 3
    return c.exp()


def rebound(m, x):
    x = x * 2
    x = x + 1
    x = x * 3
    return x.exp()


def passed_on(m, x):
    return m.block(x * 2)  # the temporary is held until the block returns


BODIES = {
    "rebound": rebound,
    "a view keeps all of its storage": lambda m, x: (x * 2)[:, :1].exp().sqrt() + 1,
    "reshape of contiguous": lambda m, x: (x * 2).reshape(1, -1).exp(),
    "reshape that copies": lambda m, x: (x * 2).transpose(2, 3).reshape(1, -1).exp(),
    "contiguous that is": lambda m, x: (x * 2).contiguous().exp(),
    "contiguous that is not": lambda m, x: (x * 2).mT.contiguous().exp(),
    "expand": lambda m, x: (x.mean((2, 3), keepdim=True) * 2).expand_as(x) + 1,
    "repeat": lambda m, x: (x * 2).repeat(1, 3, 1, 1).exp(),
    "dropout": lambda m, x: F.dropout(x * 2, training=False).exp(),
    "in place": lambda m, x: F.relu((x * 2).add_(1), inplace=True).exp_(),
    "into the input": lambda m, x: x.clamp(0).mul_(2),
    "in place through a view": lambda m, x: (x * 2).view(1, -1).exp_(),
    "max pool with its indices": lambda m, x: F.max_pool2d(F.max_pool2d(x, 3, 1, 1), 3, 1, 1),
    "adaptive max pool": lambda m, x: F.adaptive_max_pool2d(x * 2, 7),
    "attention": lambda m, x: F.scaled_dot_product_attention(x, x, x).exp(),
    "matmul that copies": lambda m, x: torch.matmul(x[:, :2].mT, x[:, :1]),
    "einsum": lambda m, x: torch.einsum("bchw,bdhw->bcd", x, x),
    "chunks": lambda m, x: torch.cat((x * 2).chunk(2, 1), 2).exp(),
    "interpolate": lambda m, x: F.interpolate(x * 2, scale_factor=2.0, mode="bilinear").exp(),
    "reflect": lambda m, x: F.pad(x * 2, (1, 2, 3, 1), mode="reflect").exp(),
    "instance norm": lambda m, x: F.instance_norm(x * 2).exp(),
    "pixel shuffle": lambda m, x: F.pixel_shuffle(x * 2, 2).exp(),
    "created": lambda m, x: torch.zeros(4, 64, 9) + torch.arange(9) + x.mean(),
    "two results": lambda m, x: torch.var_mean(x * 2, (2, 3))[1].exp(),
    "an early output": lambda m, x: [x * 2, x.sum(1).exp().sqrt()],
    "no gradients": torch.no_grad()(lambda m, x: (x * 2).exp().sqrt()),
}


@pytest.mark.parametrize("name", BODIES)
def test_views_in_place_and_temporaries(name):
    agrees(Bodies(BODIES[name]), torch.randn(1, 4, 12, 10))


MODULES = {
    "arguments of a block": lambda: Bodies(passed_on, block=nn.Sequential(*3 * [nn.Tanh()])),
    "nested": lambda: nn.Sequential(
        nn.Conv2d(4, 9, 3), nn.Sequential(nn.Tanh(), nn.Sequential(nn.ELU(), nn.GELU()), nn.SiLU())
    ),
    "a block called twice": lambda: Bodies(
        lambda m, x: m.block(m.block(x) * 2),
        block=nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh(), nn.GELU()),
    ),
    "in place": lambda: nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True), nn.ReLU6(True)),
    "identity": lambda: nn.Sequential(
        nn.Tanh(), nn.Identity(), nn.Dropout(), nn.ELU(), nn.Flatten()
    ),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 64, 5, padding=2)),
    "padded": lambda: nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular"),
    "linear": lambda: nn.Sequential(
        nn.Linear(10, 33), nn.Linear(33, 7, bias=False), nn.Softmax(-1)
    ),
    "norms": lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.LayerNorm(10), nn.BatchNorm2d(4)),
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Upsample(scale_factor=2)
    ),
    "dense": lambda: nn.Sequential(*(Dense(4 + 3 * i) for i in range(5))),
}  # fmt: skip


class Dense(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.layer = nn.Sequential(nn.BatchNorm2d(m), nn.ReLU(), nn.Conv2d(m, 3, 3, padding=1))

    def forward(self, x):
        return torch.cat([x, self.layer(x)], 1)


@pytest.mark.parametrize("name", MODULES)
def test_modules_hold_their_arguments(name):
    agrees(MODULES[name](), torch.randn(1, 4, 12, 10))


def helper(m, x):
    def scaled(t):
        twice = t * 2  # a function's own variable, which no trace shows
        return twice.exp().sqrt()

    return scaled(x + 1).tanh() + 1


def collected(m, x):
    features = [x * 2]
    for _ in range(3):
        features.append(torch.cat(features, 1).sum(1, keepdim=True))
    return torch.cat(features, 1).exp()


def deleted(m, x):
    a = x * 2
    b = a.exp()
    del a
    return (b * 3).exp()


def conditional(m, x):
    big = x.repeat(1, 8, 1, 1) if x.shape[1] < 9 else x
    small = big.mean(1)
    return small.exp().sqrt()


LOCALS = [kept, rebound, helper, collected, deleted, conditional]


@pytest.mark.parametrize("body", LOCALS, ids=lambda body: body.__name__)
def test_local_variables_keep_their_tensors(body):
    report = agrees(Bodies(body), torch.randn(1, 4, 12, 10))
    assert (report.status, report.reason, report.at_most) == ("exact", "", report.activations)


@pytest.mark.parametrize("body", LOCALS, ids=lambda body: body.__name__)
def test_without_the_models_code_a_local_variable_lies_between_the_bounds(body):
    model, x = Bodies(body).eval(), torch.randn(1, 4, 12, 10)
    with torch.no_grad():
        program = torch.export.export(model, (x,))
    report = memory(cs.trace(program))
    assert report.activations <= measured(model, x) <= report.at_most
    assert report.status == ("exact" if report.activations == report.at_most else "lower bound")
    if body in (kept, rebound):
        assert (report.activations, report.at_most) == (2 * x.numel() * 4, 4 * x.numel() * 4)
        assert f"{report.at_most:,}" in report.reason


class DenseLayer(nn.Module):
    """torchvision's: the concatenation is a variable of a method that is no `forward`."""

    def __init__(self, m, growth):
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(m), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(m, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def bottleneck(self, features):
        concatenated = torch.cat(features, 1)
        return self.conv1(self.relu1(self.norm1(concatenated)))

    def forward(self, features):
        return self.conv2(self.relu2(self.norm2(self.bottleneck(features))))


class DenseBlock(nn.ModuleList):
    def forward(self, x):
        features = [x]
        for layer in self:
            features.append(layer(features))
        return torch.cat(features, 1)


def densenet(growth=8, depths=(6, 12, 24)):
    layers, m = [nn.Conv2d(3, 16, 7, 2, 3), nn.BatchNorm2d(16), nn.ReLU(inplace=True)], 16
    for depth in depths:
        layers.append(DenseBlock(DenseLayer(m + i * growth, growth) for i in range(depth)))
        m += depth * growth
        layers += [nn.BatchNorm2d(m), nn.ReLU(inplace=True), nn.Conv2d(m, m // 2, 1)]
        layers.append(nn.AvgPool2d(2, 2))
        m //= 2
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, widths=(6, 9, 17)):
        super().__init__()
        pairs = list(pairwise((3, *widths)))
        self.down = nn.ModuleList(nn.Conv2d(m, n, 3, padding=1) for m, n in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(n, m, 2, 2) for m, n in reversed(list(pairwise(widths)))
        )
        self.fuse = nn.ModuleList(nn.Conv2d(2 * m, m, 3, padding=1) for m in widths[-2::-1])

    def forward(self, x):
        skips = []
        for i, conv in enumerate(self.down):
            x = conv(x if i == 0 else F.max_pool2d(x, 2)).relu()
            skips.append(x)
        skips.pop()
        for up, fuse in zip(self.up, self.fuse, strict=True):
            x = fuse(torch.cat([up(x), skips.pop()], 1)).relu()
        return x


class Exchange(nn.Module):
    """A stage of HRNet: three resolutions, each a sum of all."""

    def forward(self, streams):
        fused = []
        for i, mine in enumerate(streams):
            total = mine
            for j, other in enumerate(streams):
                if j != i:
                    size = mine.shape[2:]
                    total = total + F.interpolate(other, size=size, mode="bilinear")
            fused.append(total.relu())
        return fused


class HRNet(nn.Module):
    def __init__(self, m=7):
        super().__init__()
        self.stem = nn.Conv2d(3, m, 3, 2, 1)
        self.branch = nn.ModuleList(networks.Residual(m, m, 1, 1) for _ in range(3))
        self.exchange = Exchange()

    def forward(self, x):
        x = self.stem(x)
        streams = [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)]
        for _ in range(2):
            streams = [branch(y) for branch, y in zip(self.branch, streams, strict=True)]
            streams = self.exchange(streams)
        return torch.cat([F.interpolate(y, size=x.shape[2:]) for y in streams], 1)


class Block(nn.Module):
    """A block of a vision transformer, its attention written out."""

    def __init__(self, m, heads):
        super().__init__()
        self.heads, self.norm, self.qkv = heads, nn.LayerNorm(m), nn.Linear(m, 3 * m)
        self.out, self.mlp = nn.Linear(m, m), nn.Sequential(nn.Linear(m, 4 * m), nn.GELU())
        self.down = nn.Linear(4 * m, m)

    def attend(self, x):
        n, length, m = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, m // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, length, m))

    def forward(self, x):
        x = x + self.attend(self.norm(x))
        return x + self.down(self.mlp(self.norm(x)))


class ViT(nn.Module):
    def __init__(self, m=24):
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, m, 4, 4), nn.Parameter(torch.zeros(1, 1, m))
        self.blocks = nn.Sequential(Block(m, 4), Block(m, 3))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1))[:, 0]


@pytest.mark.parametrize("build", [densenet, UNet, HRNet, ViT], ids=lambda build: build.__name__)
def test_networks_that_keep_features(build):
    report = agrees(build(), torch.randn(2, 3, 32, 48))
    assert report.status == "exact"


def test_one_of_each():
    assert agrees(networks.Everything(), torch.randn(1, 3, 16, 14)).status == "exact"


def test_an_encoder_without_the_fused_path():
    layer = nn.TransformerEncoderLayer(24, 4, 96, batch_first=True, norm_first=True)
    fused = torch.backends.mha.get_fastpath_enabled()
    report = memory(cs.trace(layer, x := torch.randn(2, 17, 24)))
    assert torch.backends.mha.get_fastpath_enabled() == fused
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert report.activations == measured(layer, x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    assert report.status == "exact"


def test_the_same_figure_each_time():
    """A block of memory may get the address of one that is gone."""
    model = Bodies(lambda m, x: F.scaled_dot_product_attention(*3 * [x.flatten(2).mT]))
    x = torch.randn(1, 5, 16, 20)
    assert {memory(cs.trace(model, x)).activations for _ in range(8)} == {measured(model, x)}


def test_code_that_goes_another_way_than_the_trace():
    def body(m, x):
        y = x * 2
        return y.exp() if torch.compiler.is_exporting() else (y + 1).repeat(1, m.times, 1, 1)

    model, x = Bodies(body), torch.randn(1, 4, 12, 10)
    model.times, one = 5, x.numel() * 4
    report = memory(cs.trace(model, x))
    assert measured(model, x) == report.at_most == 7 * one
    assert (report.activations, report.status) == (2 * one, "lower bound")
    assert f"{7 * one:,} bytes" in report.reason
    big = Bodies(lambda m, x: x.repeat(1, 9, 1, 1).sum(1) if torch.compiler.is_exporting() else x)
    report = memory(cs.trace(big, x))
    assert (report.status, report.at_most) == ("upper bound", report.activations)
    assert "≤" in repr(report)


def test_a_model_that_was_changed_after_the_trace():
    model, x = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.randn(1, 3, 8, 8)
    network = cs.trace(model, x)
    model[1] = nn.Conv2d(9, 9, 1)  # takes no 4 channels
    assert memory(network).activations == 2 * 4 * 4 * 64
    assert memory(network).status == "exact"


def test_a_rehearsal_leaves_no_trace():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.sizes = nn.Conv2d(3, 4, 3), None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.sizes = x.shape
            self.fresh = 1
            return self.conv(x)

    model = Remembers().train()
    network = cs.trace(model, torch.randn(1, 3, 8, 8))
    model.sizes = None
    vars(model).pop("fresh", None)
    before = dict(vars(model)), {name: id(t) for name, t in model.named_parameters()}
    state, calls = torch.get_rng_state(), model.calls.clone()
    memory(network)
    assert (dict(vars(model)), {name: id(t) for name, t in model.named_parameters()}) == before
    assert torch.equal(model.calls, calls)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.conv.training


LAYERS = st.sampled_from(["conv", "pool", "tanh", "relu_", "norm", "block", "dropout", "residual"])


@examples(25)
@given(st.recursive(st.lists(LAYERS, max_size=6), lambda s: st.lists(s | LAYERS, max_size=4)),
       st.integers(1, 2), st.integers(8, 13), st.integers(8, 13))  # fmt: skip
def test_random_networks(plan, batch, height, width):
    width_of = iter([5, 1, 7, 2, 11, 3] * 50)

    def build(plan, m):
        layers = []
        for item in plan:
            if isinstance(item, list):
                inner, m = build(item, m)
                layers.append(inner)
            elif item in ("conv", "block"):
                n = next(width_of)
                layers.append(nn.Conv2d(m, n, 3, padding=1))
                if item == "block":
                    layers[-1] = nn.Sequential(layers[-1], nn.BatchNorm2d(n), nn.ReLU(True))
                m = n
            else:
                layers.append(
                    {
                        "pool": nn.MaxPool2d(3, 1, 1), "tanh": nn.Tanh(), "relu_": nn.ReLU(True),
                        "norm": nn.BatchNorm2d(m), "dropout": nn.Dropout(),
                        "residual": networks.Residual(m, m, 1, 1),
                    }[item]
                )  # fmt: skip
        return nn.Sequential(*layers), m

    model = nn.Sequential(nn.Conv2d(3, 4, 1), build(plan, 4)[0])
    agrees(model, torch.randn(batch, 3, height, width))


def test_weights_count_once_and_inputs_apart():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.BatchNorm1d(8)).double()
    model[1].weight = model[0].weight
    report = memory(cs.trace(model, torch.zeros(3, 8, dtype=torch.float64)))
    assert report.parameters == 8 * (64 + 2 * 8 + 4 * 8 + 1)
    assert report.inputs == 8 * 3 * 8
    assert report.total == report.activations + report.inputs + report.parameters


def test_nothing_is_allocated_and_nothing_touched():
    with torch.device("meta"):
        model = networks.resnet18()
    network = cs.trace(model, (64, 3, 2048, 2048))  # far more than fits
    state = torch.get_rng_state()
    report = memory(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert report.activations == 2 * 4 * 64 * 64 * 1024**2
    assert [tensor.name for tensor in report.alive] == ["0.0", "0.1"]


def test_an_operation_that_cannot_be_replayed_is_named():
    @torch.library.custom_op("convsmith_test::mirror", mutates_args=())
    def mirror(x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1).contiguous()

    @mirror.register_fake
    def _(x):
        return torch.empty_like(x)

    model, x = Bodies(lambda m, x: mirror(x * 2).exp()), torch.randn(1, 4, 12, 10)
    network = cs.trace(model, x)
    assert memory(network).activations == measured(model, x)
    node = next(n for n in network.program.graph.nodes if "mirror" in n.name)

    def refuses(*_):
        raise RuntimeError("no")

    node.target = refuses
    report = memory(network)
    assert report.activations == measured(model, x)
    assert report.status == "lower bound"
    assert "mirror" in report.reason
    assert "RuntimeError" in report.reason


def test_forms_of_the_report():
    report = memory(cs.trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 1, 6, 6)))
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["activations"] == 2 * 2 * 16 * 4
    assert plain["total"] == 256 + 144 + 80
    assert plain["alive"][1] == {"name": "1", "shape": [1, 2, 4, 4], "bytes": 128}
    assert plain["during"] == {"0": 128, "1": 256}
    assert "\n" not in repr(report)
    assert "<table" in report._repr_html_()
    assert report.status == "exact"


def test_a_network_without_layers_and_one_without_a_program():
    report = memory(cs.trace(nn.Identity(), (1, 3)))
    assert (report.activations, report.alive, report.inputs) == (0, (), 12)
    with pytest.raises(ArgumentError, match="trace"):
        memory(Network("made by hand", (), ()))
