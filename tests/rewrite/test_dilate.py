"""`dilate` on named architectures, what it refuses, what it leaves alone, and the mutations."""

from __future__ import annotations

import copy
import json
import sys
import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError, ModelError
from tests.networks import alexnet_features, conv_bn, mobilenet_v1, mobilenet_v2, resnet, vgg16
from tests.thoroughness import thinned


def seeded(model):
    """Weights, and batch norm that is not the identity."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def on_grid(new, old, x, rate, pick=lambda model: model):
    """The relative difference of `new[::r, ::r]` and `old`, in float64."""
    results = []
    for model in (new, old):
        model = copy.deepcopy(model).double().eval()
        found = []
        pick(model).register_forward_hook(lambda *a, found=found: found.append(a[2].clone()))
        with torch.no_grad():
            model(x)
        results.append(found[0])
    fine, coarse = results
    fine = fine[..., ::rate, ::rate]
    assert fine.shape == coarse.shape
    return float((fine - coarse).abs().max() / coarse.abs().max())


def image(size=64, width=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, size, width or size, dtype=torch.float64, generator=generator)


class Dense(nn.Module):
    def __init__(self, m, grow):
        super().__init__()
        self.a = nn.Sequential(nn.BatchNorm2d(m), nn.ReLU(), nn.Conv2d(m, grow, 3, padding=1))
        self.b = nn.Sequential(
            nn.BatchNorm2d(m + grow), nn.ReLU(), nn.Conv2d(m + grow, grow, 3, 1, 1)
        )

    def forward(self, x):
        x = torch.cat([x, self.a(x)], 1)
        return torch.cat([x, self.b(x)], 1)


def densenet():
    return nn.Sequential(
        conv_bn(3, 8, 7, 2, 3), nn.MaxPool2d(3, 2, 1), Dense(8, 4), conv_bn(16, 8, 1),
        nn.AvgPool2d(2), Dense(8, 4), conv_bn(16, 8, 1), nn.AvgPool2d(2), Dense(8, 4),
    )  # fmt: skip


class ResNetD(nn.Module):
    """A stage whose shortcut is an average pool, as in He et al. 2019, and its odd cousin."""

    def __init__(self, **pool):
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2, 1)
        self.body = nn.Sequential(conv_bn(8, 8, 3, 2, 1), conv_bn(8, 8, 3, 1, 1))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2, **pool), conv_bn(8, 8, 1))

    def forward(self, x):
        x = self.stem(x)
        return F.relu(self.body(x) + self.shortcut(x))


class UNet(nn.Module):
    def __init__(self, up="transposed"):
        super().__init__()
        self.one, self.two = conv_bn(3, 8, 3, 1, 1), conv_bn(8, 16, 3, 1, 1)
        self.pool, self.three = nn.MaxPool2d(2), conv_bn(16, 16, 3, 1, 1)
        self.up = (
            nn.ConvTranspose2d(16, 16, 2, 2) if up == "transposed" else nn.Upsample(scale_factor=2)
        )
        self.four = conv_bn(32, 8, 3, 1, 1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.two(self.pool(self.one(x)))
        y = self.three(self.pool(x))
        return self.out(self.four(torch.cat([x, self.up(y)], 1)))


class SE(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.squeeze, self.gate = nn.AdaptiveAvgPool2d(1), nn.Conv2d(m, m, 1)

    def forward(self, x):
        return x * self.gate(self.squeeze(x)).sigmoid()


@pytest.mark.parametrize("output_stride", thinned([4, 2, 8, 16]))
@pytest.mark.parametrize(
    ("build", "total"),
    [
        (lambda: resnet((1, 2, 2, 2), 1, width=8)[:-3], 32),
        (lambda: resnet((1, 1, 2, 1), 4, width=8)[:-3], 32),
        (lambda: vgg16()[:17], 8),
        (alexnet_features, 32),
        (lambda: mobilenet_v1(0.25)[:-3], 32),
        (lambda: mobilenet_v2()[:12], 16),
        (densenet, 16),
        (lambda: ResNetD(ceil_mode=True, count_include_pad=False), 4),
        (ResNetD, 4),
    ],
    ids=[
        "basic",
        "bottleneck",
        "vgg",
        "alexnet",
        "mobilenet1",
        "mobilenet2",
        "dense",
        "d",
        "floor",
    ],
)
def test_named_architectures(build, total, output_stride):
    model = seeded(build())
    size = (72, 64)
    dilated = cs.dilate(model, (1, 3, *size), output_stride=output_stride)
    rate = max(1, total // output_stride)
    assert on_grid(dilated.model, model, image(*size), rate) <= 1e-10
    assert dilated.certificate.exact and dilated.certificate.error <= 1e-10
    assert all(row.exact for row in dilated.certificate.equalities)
    assert {row.rate for row in dilated.certificate.equalities} == {(rate, rate)}
    assert list(dilated.model.state_dict()) == list(model.state_dict())


def test_the_layer_that_loses_its_stride_keeps_its_dilation():
    model = resnet((1, 1, 2, 2), 1, width=8)
    new = cs.dilate(model, (1, 3, 64, 64), output_stride=8, features="7").model
    plain = {path: m.dilation for path, m in new.named_modules() if isinstance(m, nn.Conv2d)}
    assert plain["4.body.0.0"] == plain["4.shortcut.0"] == (1, 1)
    assert plain["4.body.1.0"] == plain["5.body.0.0"] == (2, 2)
    assert plain["6.body.0.0"] == (2, 2) and plain["6.body.1.0"] == (4, 4)


def mutate(model, path, dilation):
    """Dilate one convolution more than the theorem lets it be."""
    conv = model.get_submodule(path)
    conv.dilation = (dilation, dilation)
    conv.padding = tuple(dilation * (k - 1) // 2 for k in conv.kernel_size)


def test_dilating_the_first_convolution_of_a_stage_fails_the_certificate(monkeypatch):
    from convsmith.rewrite import dilate
    from convsmith.rewrite.dilation import certificate

    model = seeded(resnet((1, 1, 1, 1), 1, width=8)[:-3])
    module = sys.modules["convsmith.rewrite.dilation.job"]
    assert cs.dilate(model, (1, 3, 64, 64), output_stride=16).certificate.exact
    carry_out = module.on_modules

    def wrongly(network, copied, plan):
        carry_out(network, copied, plan)
        mutate(copied, "5.body.0.0", 2)

    monkeypatch.setattr(module, "on_modules", wrongly)
    with pytest.raises(ArgumentError, match=r"differs by .* no known reason"):
        dilate(model, (1, 3, 64, 64), output_stride=16)
    with pytest.warns(UserWarning, match="no known reason"):
        found = dilate(model, (1, 3, 64, 64), output_stride=16, strict=False).certificate
    assert not found.exact and found.error > 1e-3
    assert "defect" in found.table().note and "not exact" in repr(found)
    assert certificate.TOLERANCE == 1e-10


def test_a_head_behind_global_pooling_is_refused_and_the_features_named():
    model = seeded(resnet((1, 1, 1, 1), 1, width=8))
    with pytest.raises(ArgumentError, match=r"6: global pooling .* features='5'"):
        cs.dilate(model, (1, 3, 64, 64), output_stride=8)
    dilated = cs.dilate(model, (1, 3, 64, 64), output_stride=8, features="5")
    assert dilated.certificate.exact and "6: global pooling" in dilated.certificate.notes[0]
    assert on_grid(dilated.model, model, image(), 4, lambda m: m[5]) <= 1e-10
    with pytest.warns(UserWarning, match="6: global pooling"):
        dilated = cs.dilate(model, (1, 3, 64, 64), output_stride=8, strict=False)
    certificate = dilated.certificate
    assert not certificate.exact and certificate.refusals == (
        "6: global pooling over a map of rate 4",
    )
    assert dilated.model(image().float()).shape == (1, 1000)


class Norm(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "softmax":
            return x.flatten(2).softmax(-1).reshape(x.shape)
        if self.kind == "attention":
            q = x.flatten(2).transpose(1, 2)[:, None]
            return F.scaled_dot_product_attention(q, q, q)
        if self.kind == "resize":
            return F.interpolate(x, size=(16, 16), mode="bilinear")
        if self.kind == "shuffle":
            return F.pixel_shuffle(x, 2)
        if self.kind == "layer":
            return F.layer_norm(x, x.shape[1:])
        if self.kind == "constant":
            return x + torch.ones(x.shape[-1])
        return x[:, :, 0]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (SE(8), r"3\.squeeze: global pooling over a map of rate 2"),
        (nn.GroupNorm(2, 8), "3: group norm"),
        (nn.InstanceNorm2d(8), "3: instance norm"),
        (Norm("layer"), "3: layer norm"),
        (nn.Upsample(scale_factor=2), "3: resizing"),
        (Norm("resize"), "3: resizing"),
        (nn.ConvTranspose2d(8, 4, 2, 2), "3: a transposed convolution on a grid of rate 2"),
        (Norm("shuffle"), "3: pixel shuffle"),
        (Norm("softmax"), "3: flattening"),
        (Norm("attention"), "3: flattening"),
        (nn.Flatten(), "3: flattening"),
        (Norm("select"), "3: one position"),
        (Norm("constant"), "3:add: grids that differ"),
        (nn.AdaptiveAvgPool2d(2), "3: adaptive pooling"),
    ],
)
def test_what_is_not_exact_is_refused_by_name(layer, message):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), layer)
    with pytest.raises(ArgumentError, match=message):
        cs.dilate(model, (1, 3, 32, 32), output_stride=2)
    # What does not bear upon the map that is judged does no harm.
    assert cs.dilate(model, (1, 3, 32, 32), output_stride=2, features="2").certificate.exact
    before = (
        nn.Sequential(layer, nn.Conv2d(8, 8, 3, 2, 1))
        if isinstance(layer, (SE, nn.GroupNorm))
        else None
    )
    if before is not None:
        assert cs.dilate(before, (1, 8, 32, 32), output_stride=1).certificate.exact


def test_squeeze_and_excite_goes_on_when_asked():
    model = seeded(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), SE(8), nn.Conv2d(8, 8, 3, 1, 1)))
    with pytest.warns(UserWarning, match="1.squeeze"):
        found = cs.dilate(model, (1, 3, 32, 32), output_stride=1, strict=False)
    assert not found.certificate.exact and 1e-10 < found.certificate.error < 1
    assert found.model[2].dilation == (2, 2)


def test_shortcuts_that_keep_their_stride_are_named():
    model = resnet((1, 1), 1, width=8)[:-3]
    with pytest.raises(ArgumentError, match=r"3:add.*rate 2 from .*rate 1 from"):
        cs.dilate(model, (1, 3, 64, 64), layers="3.body")
    assert cs.dilate(model, (1, 3, 64, 64), layers=["3.body", "3.shortcut"]).certificate.exact
    assert cs.dilate(model, (1, 3, 64, 64), layers="3").certificate.before.stride == (8, 8)


@pytest.mark.parametrize("up", ["transposed", "nearest"])
def test_encoders_of_unets(up):
    model = seeded(UNet(up))
    with pytest.raises(ArgumentError, match="up: "):
        cs.dilate(model, (1, 3, 32, 32), output_stride=2)
    dilated = cs.dilate(model, (1, 3, 32, 32), output_stride=2, features="three")
    assert dilated.certificate.exact and "ends at its features" in dilated.certificate.notes[0]
    with torch.no_grad():
        assert dilated.model(torch.zeros(1, 3, 32, 32)).shape == (1, 16, 16, 16)
    encoder = cs.dilate(
        nn.Sequential(model.one, model.pool, model.two), (1, 3, 32, 32), output_stride=1
    )
    assert encoder.certificate.exact


class Functional(nn.Module):
    """Pools without modules, and one convolution at two places of different rate."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        x = F.max_pool2d(self.conv(x), 3, 2, 1)
        x = F.avg_pool2d(self.norm(self.conv(x)), 2, ceil_mode=True)
        return F.channel_shuffle(self.conv(x)[:, :, ::2], 3)


def test_functional_pools_and_shared_modules_go_through_the_graph():
    model = seeded(Functional())
    dilated = cs.dilate(model, (1, 3, 33, 32), output_stride=1)
    old = copy.deepcopy(model).double().eval()
    new = copy.deepcopy(dilated.model).double()
    x = image(33, 32)
    with torch.no_grad():
        assert torch.allclose(new(x)[..., ::8, ::4], old(x), rtol=0, atol=1e-12)
    assert dilated.certificate.exact and "graph was changed" in dilated.certificate.notes[0]
    assert dilated.model.state_dict().keys() == model.state_dict().keys()


class Layout(nn.Module):
    """Two strides behind another layout of the image; the second layer may lend its weights."""

    def __init__(self, order, lends):
        super().__init__()
        self.order, self.lends = order, lends
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        x = self.a(x.permute(self.order))
        return F.conv2d(x, self.b.weight, self.b.bias, 2, 1) if self.lends else self.b(x)


@pytest.mark.parametrize("lends", [False, True])
@pytest.mark.parametrize(
    ("order", "shape"),
    [((0, 3, 1, 2), (2, 33, 32, 3)), ((2, 0, 1), (33, 32, 3)), ((1, 0, 2, 3), (3, 2, 33, 32)),
     ((0, 1, 2, 3), (2, 3, 33, 32))],
)  # fmt: skip
def test_layouts_of_the_image_and_weights_that_are_lent(order, shape, lends):
    model = seeded(Layout(order, lends))
    dilated = cs.dilate(model, shape, output_stride=1)
    x = torch.rand(shape, dtype=torch.float64)
    old, new = (copy.deepcopy(m).double().eval() for m in (model, dilated.model))
    with torch.no_grad():
        assert torch.allclose(new(x)[..., ::4, ::4], old(x), rtol=0, atol=1e-12)
    assert dilated.certificate.exact


class Branches(nn.Module):
    """Three ways down to one length, of which each has another length where strides are gone."""

    def __init__(self):
        super().__init__()
        self.padded = nn.Conv1d(1, 1, 3, 3, 1, padding_mode="reflect")
        self.point = nn.Conv1d(1, 1, 1, 3)
        self.pooled = nn.Sequential(nn.AvgPool1d(3, 3, ceil_mode=True), nn.Conv1d(1, 1, 1))

    def forward(self, x):
        return self.padded(x) + self.point(x) + self.pooled(x)


def test_branches_of_unequal_length_all_end_at_the_last_old_position():
    model = seeded(Branches())
    dilated = cs.dilate(model, (1, 1, 11), output_stride=1)
    x = torch.randn(1, 1, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert dilated.certificate.exact and on_grid(dilated.model, model, x, 3) <= 1e-12


def test_borders_that_repeat_the_map():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, padding_mode="circular"),
        nn.Conv2d(8, 8, 3, 1, 1, padding_mode="circular"),
    )
    assert cs.dilate(model, (1, 3, 32, 32), output_stride=1).certificate.exact
    with pytest.raises(ArgumentError, match=r"1: circular padding of 31 .* 32 would"):
        cs.dilate(model, (1, 3, 31, 31), output_stride=1)
    for mode in ("reflect", "replicate"):
        mirrored = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, padding_mode=mode)
        )
        for size in (32, 33):
            assert cs.dilate(mirrored, (1, 3, size, size), output_stride=1).certificate.exact


def test_rates_beyond_the_rule_are_marked_and_the_holes_counted():
    model = seeded(
        nn.Sequential(nn.Conv2d(3, 4, 1, 2), *[nn.Conv2d(4, 4, 3, 1, 1) for _ in range(3)])
    )
    exact = cs.dilate(model, (1, 3, 64, 64), output_stride=1).certificate
    assert exact.after.gap == (1, 1) and exact.by_theorem is None
    found = cs.dilate(model, (1, 3, 64, 64), output_stride=1, rates=[1, 2, 3])
    certificate = found.certificate
    assert not certificate.exact and certificate.rates == ("1: dilation 2 → 1", "3: dilation 2 → 3")
    assert certificate.by_theorem.gap == (1, 1) and certificate.after.gap == (0, 0)
    assert certificate.after.field == certificate.by_theorem.field == (13, 13)
    assert found.model(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 64, 64)
    named = cs.dilate(model, (1, 3, 64, 64), output_stride=1, rates={"2": 5}).model
    assert named[2].dilation == named[2].padding == (5, 5)
    with pytest.raises(ArgumentError, match="2 numbers for 3 dilated convolutions: '1'; '2'; '3'"):
        cs.dilate(model, (1, 3, 64, 64), output_stride=1, rates=[1, 2])


def test_the_original_is_left_alone():
    model = seeded(resnet((1, 1, 1), 1, width=8)[:-3]).train()
    hook = model[2].register_forward_hook(lambda *_: None)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    words, state = repr(model), torch.random.get_rng_state()
    versions = [p._version for p in model.parameters()]
    dilated = cs.dilate(model, (1, 3, 64, 64), output_stride=4)
    assert repr(model) == words and all(m.training for m in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [p._version for p in model.parameters()] == versions
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[key])
    assert hook.id in model[2]._forward_hooks
    assert all(m.training for m in dilated.model.modules())
    ours = {id(p) for p in model.parameters()}
    assert not ours.intersection(id(p) for p in dilated.model.parameters())


def test_a_dilated_network_can_be_trained():
    model = cs.dilate(resnet((1, 1), 1, width=8)[:-3], (1, 3, 32, 32), output_stride=2).model
    before = model[2].body[0][0].weight.clone()
    loss = model.train()(torch.randn(2, 3, 40, 40)).square().mean()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(before, model[2].body[0][0].weight)


def test_axes_of_their_own():
    model = nn.Sequential(nn.Conv2d(3, 4, (3, 5), (2, 4), (1, 2)), nn.Conv2d(4, 4, 3, (2, 1), 1))
    found = cs.dilate(model, (1, 3, 33, 40), output_stride=(2, 1)).certificate
    assert found.exact and found.equalities[0].rate == (2, 4) and found.after.stride == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of output_stride and layers"),
        ({"output_stride": 8, "layers": "0"}, "one of"),
        ({"output_stride": 0}, "positive"),
        ({"output_stride": 2.5}, "positive"),
        ({"output_stride": (1, 2, 3)}, "3 numbers for 2 axes"),
        ({"output_stride": 3}, "so 3 cannot be reached; use "),
        ({"layers": "2"}, "no stride"),
        ({"layers": "9"}, "no layer '9'"),
        ({"layers": []}, "no layer"),
        ({"output_stride": 1, "features": "bodi"}, "no layer 'bodi'"),
        ({"output_stride": 1, "rates": {"1": 2}}, "no convolution"),
        ({"output_stride": 1, "rates": {"2": 0}}, "positive"),
    ],
)
def test_bad_arguments(arguments, message):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3))
    with pytest.raises(ArgumentError, match=message):
        cs.dilate(model, (1, 3, 32, 32), **arguments)


def test_the_certificate_as_data_and_as_a_page(tmp_path):
    model = seeded(resnet((1, 1), 1, width=8)[:-3])
    dilated = cs.dilate(model, (1, 3, 32, 32), output_stride=4)
    certificate = dilated.certificate
    data = json.loads(json.dumps(certificate.to_dict()))
    assert data["exact"] is True and data["after"]["stride"] == [4.0, 4.0]
    assert data["before"]["params"] == data["after"]["params"]
    assert data["after"]["macs"] > data["before"]["macs"]
    page = certificate.to_html()
    assert "On the old grid" in page and "exact" in certificate._repr_html_()
    assert "exact" in repr(dilated) and "\n" not in repr(dilated)
    folder = dilated.save(tmp_path / "fine")
    assert sorted(p.name for p in folder.iterdir()) == ["model.safetensors", "recipe.json"]
    with pytest.raises(ArgumentError, match="force"):
        dilated.save(folder)
    dilated.save(folder, force=True)
    assert json.loads((folder / "recipe.json").read_text())["report"] == data
    (folder / "recipe.json").unlink()
    with pytest.raises(ArgumentError, match="safetensors exists"):
        dilated.save(folder)


def test_what_changed_is_listed():
    model = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), 2, (1, 2)), nn.MaxPool2d(2), nn.ZeroPad2d((0, 1, 2, 3)),
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1),
    )  # fmt: skip
    certificate = cs.dilate(model, (1, 3, 33, 40), output_stride=2).certificate
    rows = {c.path: (c.stride, c.dilation, c.padding) for c in certificate.changes}
    assert list(rows) == ["1", "2", "3", "4"]
    none = ((0, 0), (0, 0))
    assert rows["1"] == (((2, 2), (1, 1)), ((1, 1), (1, 1)), (none, none))
    assert rows["2"] == (((), ()), ((), ()), (((2, 3), (0, 1)), ((4, 6), (0, 2))))
    assert rows["3"] == (((1, 1), (1, 1)), ((1, 1), (2, 2)), (none, none))
    table = certificate.changes_table()
    texts = [[c.text(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
    assert texts[0] == ["1", "2 → 1", "1", "0"]
    assert texts[1] == ["2", "–", "–", "2,3×0,1 → 4,6×0,2"]


def built(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
        nn.ReflectionPad2d(1), nn.Conv2d(8, 8, (3, 5), (2, 1), (1, 2)),
        nn.Conv2d(8, 8, 4, 2, "valid"),
        nn.Conv2d(8, 5, 3, padding="same"),
    )  # fmt: skip


@pytest.mark.parametrize("output_stride", [1, 2, 4, 8])
def test_a_dilated_network_is_built_again(output_stride, tmp_path):
    model = built()
    dilated = cs.dilate(model, (1, 3, 129, 97), output_stride=output_stride)
    folder = dilated.save(tmp_path / "fine")
    again = cs.load(folder, built(seed=1))
    x = image(129, 97).float()
    assert torch.equal(again.eval()(x), dilated.model.eval()(x))
    assert str(again) == str(dilated.model)
    assert list(again.state_dict()) == list(model.state_dict())
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["version"] == 2 and recipe["kind"] == "dilated"


@pytest.mark.slow
def test_lightened_and_then_dilated_is_built_again(tmp_path):
    def build():
        return seeded(resnet((1, 1), 1, width=8)[:-3])

    light = cs.lighten(build(), torch.rand(16, 3, 32, 32), multiplier=2).model
    dilated = cs.dilate(light, (1, 3, 32, 32), output_stride=4)
    assert dilated.certificate.exact
    again = cs.load(dilated.save(tmp_path / "both"), build())
    x = image(32).float()
    assert torch.equal(again.eval()(x), dilated.model.eval()(x))
    assert torch.equal(again(x)[..., ::2, ::2].round(decimals=3), light.eval()(x).round(decimals=3))


def test_a_network_of_other_strides_is_refused(tmp_path):
    once = cs.dilate(built(), (1, 3, 129, 97), layers="4").model
    folder = cs.dilate(once, (1, 3, 129, 97), layers="8").save(tmp_path)
    assert str(cs.load(folder, once)) != str(built())
    with pytest.raises(ModelError, match=r"'5' has the windows stride=\(1, 1\), dilation=\(1, 1\)"):
        cs.load(folder, built())


def test_an_exported_graph_is_not_built_again(tmp_path):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(F.max_pool2d(x, 2))

    dilated = cs.dilate(Functional(), (1, 3, 16, 16), output_stride=1)
    assert "max_pool2d" in dilated.fixed
    with pytest.raises(ModelError, match="cannot be built again: the exported graph"):
        cs.load(dilated.save(tmp_path), Functional())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "Linear"}, "no layer is called 'Linear'"),
        ({"form": "convolution"}, "not a convolution"),
        ({"form": "AvgPool2d"}, "kernel_size"),
        ({"windows": [{"kernel": 3}]}, "old"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(change, message, tmp_path):
    folder = cs.dilate(built(), (1, 3, 129, 97), output_stride=2).save(tmp_path)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["dilations"]["4"] |= change
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ModelError, match="does not fit Sequential") as caught:
        cs.load(folder, built())
    assert message in str(caught.value)


def test_batch_norm_without_stored_statistics_is_refused_on_a_finer_map():
    layers = [nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4, track_running_stats=False)]
    with pytest.raises(cs.ConvsmithError, match="batch norm over a map of rate 2"):
        cs.dilate(nn.Sequential(*layers, nn.Conv2d(4, 4, 3)), (2, 2, 17, 17), output_stride=1)


def test_without_a_stride_there_is_nothing_that_could_be_exact():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    for asked in (1, 3):
        with pytest.warns(UserWarning, match="nothing was changed: there is no stride to remove"):
            certificate = cs.dilate(model, (1, 3, 16, 16), output_stride=asked).certificate
        note = str(certificate.table().note)
        assert note == "Nothing was changed: there is no stride to remove."
        page = certificate.to_html()
        assert "no stride to remove" in page and "0.0e+00" not in note


def test_no_difference_is_not_told_as_a_power_of_ten():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1))
    certificate = cs.dilate(model, (1, 3, 16, 16), output_stride=1).certificate
    same = replace(certificate, equalities=tuple(
        replace(row, absolute=0.0, relative=0.0) for row in certificate.equalities
    ))  # fmt: skip
    assert str(same.table().note).startswith("Exact: no difference")


@pytest.mark.parametrize(
    ("strides", "asked", "use"), [((2, 2), 3, "2 or 4"), ((1, 6), 4, "3 or 6"), ((5,), 2, "1 or 5")]
)
def test_a_stride_that_cannot_be_reached_is_told_with_those_that_can(strides, asked, use):
    layers = [nn.Conv2d(3, 3, 1, stride) for stride in strides]
    with pytest.raises(ArgumentError, match=f"so {asked} cannot be reached; use {use}$"):
        cs.dilate(nn.Sequential(*layers), (1, 3, 61, 61), output_stride=asked)
    for other in map(int, use.split(" or ")):
        layers = [nn.Conv2d(3, 3, 1, stride) for stride in strides]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the whole stride stays
            cs.dilate(nn.Sequential(*layers), (1, 3, 61, 61), output_stride=other)
