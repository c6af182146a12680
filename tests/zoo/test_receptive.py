"""Receptive fields of published models, to the unit."""

from __future__ import annotations

import pytest
import torch

import convsmith as cs
from convsmith.cli.models import load_model
from convsmith.measure import true_field
from tests.zoo.architectures import build

pytestmark = pytest.mark.zoo
pytest.importorskip("torchvision")
pytest.importorskip("timm")

FIELDS = {
    "torchvision:resnet18": (435, 32, 217),
    "torchvision:resnet50": (427, 32, 213),
    "torchvision:vgg16": (212, 32, 90),
    "torchvision:alexnet": (195, 32, 66),
    "torchvision:mobilenet_v2": (491, 32, 245),
    "timm:mobilenetv1_100": (315, 32, 157),
}


@pytest.mark.parametrize("spec", FIELDS)
def test_published_fields_to_the_unit(spec):
    size, stride, padding = FIELDS[spec]
    report = cs.inspect(build(spec), (1, 3, 224, 224))
    field = report.local_receptive_field
    assert (field.size, field.stride, field.padding) == (
        (size, size), (stride, stride), (padding, padding),
    )  # fmt: skip
    assert report.receptive_field.status == "whole image"


@pytest.mark.parametrize(
    "spec",
    ["torchvision:densenet201", "timm:hrnet_w18", "torchvision:shufflenet_v2_x1_0",
     "torchvision:efficientnet_b0", "timm:res2net50_26w_4s"],
)  # fmt: skip
def test_the_field_of_a_trained_network_is_where_its_gradient_is(spec):
    """Real weights may cancel, but no gradient lies outside, and nearly all inside have one."""
    torch.manual_seed(0)
    model = load_model(spec).double().eval()
    net = cs.trace(model, torch.rand(1, 3, 96, 96, dtype=torch.float64))
    maps = [layer for layer in net if layer.kind == "convolution" and len(layer.shape) == 4]
    layer = next(x for x in maps if x.shape[-1] <= 24 and x.operation.arithmetic.taps > 1)
    place = tuple(n // 2 for n in layer.shape[2:])
    image = torch.rand(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    seen = {}
    handle = model.get_submodule(layer.path).register_forward_hook(
        lambda module, given, result: seen.setdefault("map", result)
    )
    model(image)
    handle.remove()
    (gradient,) = torch.autograd.grad(seen["map"][(0, slice(None), *place)].square().sum(), image)
    touched = gradient[0].abs().sum(0) > 0
    inside = torch.zeros(96, 96, dtype=torch.bool)
    for rows, columns in true_field(net, layer.name, place).region:
        inside[torch.tensor(list(rows))[:, None], torch.tensor(list(columns))] = True
    assert not (touched & ~inside).any()
    assert (touched & inside).sum() > 0.95 * inside.sum()
