"""`lighten` on published architectures: the arithmetic's figures, and the original's output."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli import main
from convsmith.cli.models import load_model
from convsmith.measure import latency
from convsmith.nn import DepthwiseSeparableConv2d, DepthwiseSeparableConv3d
from convsmith.nn.factorise import separable_rank
from convsmith.rewrite.lightening import fidelity as figures
from convsmith.rewrite.surgery import replace
from tests.zoo.observing import flops_by_module, state

pytest.importorskip("torchvision")
pytest.importorskip("timm")

pytestmark = pytest.mark.zoo

lighten = partial(cs.lighten, compiled=False)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Reports are timed by the least number of runs: these tests are not about time."""
    monkeypatch.setattr(figures, "latency", lambda calls, seconds: latency(calls, seconds=0))


def trained(spec):
    """The architecture with weights, and statistics that are those of no image."""
    torch.manual_seed(0)
    model = load_model(spec).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model


def photographs(count=8, size=64):
    """Smooth random images, with mean 0 and a spread of 1."""
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.avg_pool2d(noise, 5, 1, 2)
    return (smooth - smooth.mean()) / smooth.std()


def positions(model, images):
    """The output positions of every convolution for one image, by path."""
    found, handles = {}, []
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(
                module.register_forward_hook(
                    lambda _, given, result, path=path: found.update({path: result[0, 0].numel()})
                )
            )
    copied = copy.deepcopy(model).eval()
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        copied(images[:1])
    return found


def conv_params(model):
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return sum(p.numel() for m in convolutions for p in m.parameters())


def rewritable(model):
    """Plain convolutions that look at more than one place and more than one channel."""
    return {
        path: module
        for path, module in model.named_modules()
        if type(module) is nn.Conv2d and max(module.kernel_size) > 1 and module.groups == 1
    }


CASES = {
    ("torchvision:resnet18", 1): 17,
    ("torchvision:resnet18", 2): 17,
    ("torchvision:mobilenet_v2", 2): 1,
    ("timm:efficientnet_es", 1): 8,
    # Its strided convolutions pad by themselves: they are no plain ones and stay.
    ("timm:tf_efficientnet_es", 1): 5,
}


@pytest.mark.parametrize(("spec", "multiplier"), CASES)
def test_parameters_and_macs_fall_by_the_arithmetics_figure(spec, multiplier):
    model, images = trained(spec), photographs()
    before = state(model)
    light = lighten(model, images, multiplier=multiplier)
    assert state(model) == before

    convolutions, places = rewritable(model), positions(model, images)
    assert len(convolutions) == CASES[spec, multiplier]
    # m·n·k² weights become T·m·(k² + n); none has a bias, and each has a batch norm behind it.
    saved = {
        path: conv.weight.numel()
        - multiplier * conv.in_channels * (conv.weight[0, 0].numel() + conv.out_channels)
        for path, conv in convolutions.items()
    }
    params = sum(saved.values())
    macs = sum(saved[path] * places[path] for path in convolutions)
    report = light.report
    assert {x.path for x in report.layers if x.rank == multiplier} == set(convolutions)
    assert conv_params(model) - conv_params(light.model) == params
    assert report.original.conv_params - report.lightened.conv_params == params
    assert report.original.params - report.lightened.params == params
    assert report.original.macs - report.lightened.macs == macs

    again = cs.inspect(light.model, (1, 3, 64, 64))
    assert (again.params, again.macs) == (report.lightened.params, report.lightened.macs)
    assert again.params == sum(p.numel() for p in light.model.parameters())
    with torch.no_grad():
        wanted, given = model.eval()(images), light.model.eval()(images)
    assert given.shape == wanted.shape and bool(given.isfinite().all())
    counted, _ = flops_by_module(light.model, [images[:1]])
    assert counted[""].total() == 2 * again.macs


def test_the_one_dense_convolution_of_mobilenet_v2():
    light = lighten(trained("torchvision:mobilenet_v2"), photographs(), multiplier=1)
    (stem,) = (x for x in light.report.layers if x.form)
    assert stem.path == "features.0.0" and stem.params == (864, 27 + 96)
    reasons = {x.path: x.reason for x in light.report.layers}
    assert reasons["features.1.conv.0.0"] == "depthwise already"
    assert reasons["features.1.conv.1"] == "pointwise already"


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:efficientnet_es"])
def test_a_network_that_is_separable_already_is_found_exactly(spec):
    """Every dense weight is one depthwise kernel a channel, times a matrix."""
    model = trained(spec).double().eval()
    for conv in rewritable(model).values():
        n, m, *kernel = conv.weight.shape
        spread = torch.randn(n, m, dtype=torch.float64) * (2 / m) ** 0.5
        kernels = nn.functional.normalize(torch.randn(m, *kernel, dtype=torch.float64).flatten(1))
        product = spread[..., None] * kernels
        conv.weight.data.copy_(product.reshape(conv.weight.shape))
    images = photographs(8, 48).double()
    light = lighten(model, images, multiplier=1)
    with torch.no_grad():
        wanted, given = model(images), light.model(images)
    assert wanted.std() > 1e-3, "outputs that are all alike would show nothing"
    assert (given - wanted).abs().max() < 1e-8 * wanted.abs().max()
    assert all(abs(layer.error) < 1e-9 for layer in light.report.layers)


def normalised(model, images):
    """Mean and spread of what every batch norm gives, before an activation that it may hold."""
    found, handles = {}, []
    for path, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):

            def see(norm, given, path=path):
                values = nn.functional.batch_norm(
                    given[0], norm.running_mean, norm.running_var, norm.weight, norm.bias,
                    eps=norm.eps,
                )  # fmt: skip
                found[path] = torch.stack([values.mean((0, 2, 3)), values.std((0, 2, 3))])

            handles.append(norm.register_forward_pre_hook(see))
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "timm:efficientnet_es"])
def test_batch_norms_give_what_they_gave(spec):
    """timm's hold their activation, and what is matched lies before it."""
    model, images = trained(spec).double().eval(), photographs(8, 48).double()
    wanted = normalised(model, images)
    light = lighten(model, images, multiplier=1)
    given = normalised(light.model, images)
    assert given.keys() == wanted.keys() and len(wanted) >= 20
    for path, (mean, spread) in wanted.items():
        # A channel that is (almost) the same everywhere, before or after, has no spread to match.
        alive = torch.minimum(spread, given[path][1]) > 1e-9 * spread.max()
        alive &= light.model.get_submodule(path).running_var > 0
        assert alive.double().mean() > 0.8
        torch.testing.assert_close(given[path][0], mean, rtol=0, atol=1e-9 * float(spread.max()))
        torch.testing.assert_close(given[path][1][alive], spread[alive], rtol=1e-9, atol=0)


SINGLE = [
    ("torchvision:resnet18", "conv1", 49),
    ("torchvision:resnet18", "layer1.0.conv1", 9),
    ("torchvision:resnet18", "layer2.0.conv1", 9),
    ("torchvision:resnext50_32x4d", "layer1.0.conv2", 4),
    ("torchvision:deeplabv3_mobilenet_v3_large", "classifier.0.convs.2.0", 9),
    ("torchvision:googlenet", "inception4b.branch2.1.conv", 9),
    ("timm:convmixer_768_32", "stem.0", 49),
    ("torchvision:r3d_18", "stem.0", 64),
]


@pytest.mark.parametrize(("spec", "path", "rank"), SINGLE)
def test_at_full_rank_a_layer_gives_the_originals_output(spec, path, rank):
    model = trained(spec).double().eval()
    conv = model.get_submodule(path)
    assert separable_rank(conv.weight, conv.groups) == rank
    dims = conv.weight.ndim - 2
    form = {2: DepthwiseSeparableConv2d, 3: DepthwiseSeparableConv3d}[dims]
    light = copy.deepcopy(model)
    replace(light, path, form.from_conv(conv, rank))
    images = photographs(2, 48).double()
    if dims == 3:
        images = images[:, :, None].expand(-1, -1, 5, -1, -1) * torch.arange(1, 6)[:, None, None]
    seen = {}
    for name, network in (("wanted", model), ("given", light)):
        hook = network.get_submodule(path).register_forward_hook(
            lambda _, arguments, result, name=name: seen.update({name: result})
        )
        with torch.no_grad():
            answer = network(images)
        hook.remove()
        seen[f"{name} at last"] = answer["out"] if isinstance(answer, dict) else answer
    for end in ("", " at last"):
        wanted, given = seen[f"wanted{end}"], seen[f"given{end}"]
        assert wanted.std() > 0
        assert (given - wanted).abs().max() < 1e-11 * wanted.abs().max()


def test_what_was_saved_is_read_by_name_alone(tmp_path, capsys):
    model, images = trained("torchvision:resnet18"), photographs()
    light = lighten(model, images, multiplier=1)
    folder = light.save(tmp_path / "light", origin="torchvision:resnet18")
    again = load_model(f"{folder}/").eval()
    with torch.no_grad():
        assert torch.equal(again(images), light.model.eval()(images))
    assert main(["inspect", f"{folder}/", "--input", "1,3,64,64", "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["total"]
    assert (total["params"], total["macs"], total["status"]) == (
        light.report.lightened.params, light.report.lightened.macs, "exact",
    )  # fmt: skip
