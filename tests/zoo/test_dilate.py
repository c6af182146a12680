"""The theorem on published architectures: old output equals every r-th position of the new one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli.models import load_model
from convsmith.errors import ArgumentError
from convsmith.measure.conventions import warnings_of
from tests.zoo.observing import state

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

pytestmark = pytest.mark.zoo

SIZE = (1, 3, 97, 64)


def trained(spec):
    """The architecture with statistics that are those of no image."""
    torch.manual_seed(0)
    model = load_model(spec)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model


def maps(model, features, x):
    """What a module gives in float64, without anything of ours."""
    copied, found = copy.deepcopy(model).double().eval(), []
    copied.get_submodule(features).register_forward_hook(lambda *a: found.append(a[2].clone()))
    with torch.no_grad():
        copied(x)
    return found[0]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    ("spec", "features"),
    [
        ("torchvision:resnet18", "layer4"),
        ("torchvision:resnet50", "layer4"),
        ("torchvision:mobilenet_v2", "features"),
        ("torchvision:densenet121", "features"),
        ("torchvision:vgg16_bn", "features"),
        ("torchvision:convnext_tiny", "features"),
        ("torchvision:regnet_x_400mf", "trunk_output"),
        ("timm:resnet18", "layer4"),
        ("timm:resnet50", "layer4"),
        ("timm:resnet50d", "layer4"),
        ("timm:mobilenetv2_100", "conv_head"),
        ("timm:tf_efficientnet_lite0", "blocks"),
        ("timm:densenet121", "features"),
    ],
)
def test_the_old_grid_is_kept(spec, features, output_stride):
    model = trained(spec)
    before = state(model)
    dilated = cs.dilate(model, SIZE, output_stride=output_stride, features=features)
    assert state(model) == before
    certificate = dilated.certificate
    assert certificate.exact and certificate.error <= 1e-10
    assert certificate.after.stride == (output_stride, output_stride)
    assert dilated.model.state_dict().keys() == model.state_dict().keys()
    x = torch.randn(SIZE, dtype=torch.float64)
    old, new = (maps(m, features, x) for m in (model, dilated.model))
    rate = 32 // output_stride
    on_grid = new[..., ::rate, ::rate]
    assert on_grid.shape == old.shape
    assert (on_grid - old).abs().max() <= 1e-10 * old.abs().max()
    assert warnings_of(cs.trace(dilated.model, SIZE)) == ()


@pytest.mark.parametrize(
    ("spec", "features", "squeezes", "exact"),
    [
        ("torchvision:mobilenet_v3_large", "features", "features.", "features.7"),
        ("torchvision:efficientnet_b0", "features", "features.", "features.3"),
        ("timm:efficientnet_b0", "blocks", "blocks.", "blocks.2"),
        ("timm:tf_efficientnet_b0", "blocks", "blocks.", "blocks.2"),
    ],
)
def test_squeeze_and_excite_is_named(spec, features, squeezes, exact):
    model = trained(spec)
    with pytest.raises(
        ArgumentError, match=rf"{squeezes}[^;]*: global pooling over a map of rate 2"
    ):
        cs.dilate(model, SIZE, output_stride=8, features=features)
    with pytest.warns(UserWarning, match="global pooling"):
        certificate = cs.dilate(
            model, SIZE, output_stride=8, features=features, strict=False
        ).certificate
    assert not certificate.exact and 1e-10 < certificate.error < 10
    assert cs.dilate(model, SIZE, output_stride=8, features=exact).certificate.exact


def test_known_conventions():
    right = torchvision.models.resnet50(
        weights=None, replace_stride_with_dilation=[False, True, True]
    )
    assert warnings_of(cs.trace(right, SIZE)) == ()
    assert warnings_of(cs.trace(timm.create_model("resnet18", output_stride=8), SIZE)) == ()
    wrong = torchvision.models.mobilenet_v3_large(weights=None, dilated=True)
    (line,) = warnings_of(cs.trace(wrong, SIZE))
    assert line.startswith("features.13.block.1.0: dilation 2 on an input of rate 1")
    assert "features.13.block.0.0" in line


def test_what_torchvision_dilates_is_the_same():
    torch.manual_seed(0)
    strided = trained("torchvision:resnet50")
    theirs = torchvision.models.resnet50(
        weights=None, replace_stride_with_dilation=[False, True, True]
    )
    theirs.load_state_dict(strided.state_dict())
    ours = cs.dilate(strided, SIZE, output_stride=8, features="layer4").model
    x = torch.randn(SIZE, dtype=torch.float64)
    assert torch.equal(maps(ours, "layer4", x), maps(theirs, "layer4", x))
