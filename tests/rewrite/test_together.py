"""A segmentation network made lighter and then dilated: both promises hold at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.rewrite import Timing
from tests.rewrite.fakes import same


def block(m, n, stride=1):
    return nn.Sequential(nn.Conv2d(m, n, 3, stride, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU())


def segmentation():
    """An encoder of output stride 8 with a classifier of places."""
    torch.manual_seed(0)
    model = nn.Sequential(
        block(3, 8, 2), block(8, 12, 2), block(12, 16), block(16, 16, 2), block(16, 16),
        nn.Conv2d(16, 5, 1),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(10):
            model(torch.rand(16, 3, 32, 32))
    return model.eval()


@pytest.mark.parametrize(
    "form", [None, "cp", "depthwise_pointwise", "pointwise_depthwise", "spatial", "tucker"]
)
def test_the_lightened_network_dilated_is_itself_on_the_old_grid(counted, form):
    model, held = segmentation(), segmentation()
    torch.manual_seed(1)
    images = torch.rand(16, 3, 32, 32)
    forms = None if form is None else [form]
    light = cs.lighten(model, images, macs=0.8, forms=forms, timing=Timing(compiled=False))
    assert any(layer.form for layer in light.report.layers)
    wide = cs.dilate(light.model, (1, 3, 32, 32), output_stride=2)
    assert wide.certificate.exact
    with torch.no_grad():
        old, new = light.model.double()(images.double()), wide.model.double()(images.double())
    assert old.shape[2:] == (4, 4) and new.shape[2:] == (16, 16)
    assert (new[..., ::4, ::4] - old).abs().max() < 1e-10 * old.abs().max()
    assert same(model, held)


@pytest.mark.slow
def test_the_dilated_network_can_be_lightened(counted):
    """The other order: the field is that of the dilated network."""
    model = segmentation()
    wide = cs.dilate(model, (1, 3, 32, 32), output_stride=2).model
    torch.manual_seed(1)
    images = torch.rand(16, 3, 32, 32)
    light = cs.lighten(wide, images, macs=0.6, timing=Timing(compiled=False))
    changed = [layer for layer in light.report.layers if layer.form]
    assert changed and light.model(images).shape == (16, 5, 16, 16)
    fields = [cs.inspect(net, (1, 3, 32, 32)).receptive_field for net in (wide, light.model)]
    assert fields[0].size == fields[1].size
    assert light.report.steps[-1].error < light.report.steps[0].error


def test_both_in_one_call_and_from_a_folder(tmp_path):
    model, held = segmentation(), segmentation()
    torch.manual_seed(1)
    images = torch.rand(16, 3, 32, 32)
    both = cs.lighten(model, images, multiplier=2, output_stride=2, timing=Timing(compiled=False))
    assert both.certificate is not None and both.certificate.exact
    assert any(layer.form for layer in both.report.layers)
    assert not all(layer.form for layer in both.report.layers)
    with torch.no_grad():
        wanted = both.model(images)
        assert wanted.shape[2:] == (16, 16)
        loaded = cs.load(both.save(tmp_path / "both"), segmentation()).eval()
        assert torch.equal(loaded(images), wanted)
    assert same(model, held)
