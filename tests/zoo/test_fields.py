"""One network of every family of torchvision and timm: no field leaves out what is read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

import convsmith as cs
from convsmith.arithmetic import Region
from convsmith.cli.models import load_model
from convsmith.measure import true_field
from tests.zoo import gradients
from tests.zoo.families import DETECTORS, LEFT_OUT, SMALLEST, family

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

pytestmark = pytest.mark.zoo

# For a detector, and for its backbone alone.
IMAGE, CROP = (1, 3, 96, 96), (1, 3, 300, 300)


def check(model, shapes):
    network = cs.trace(gradients.awake(model), shapes)
    generator = torch.Generator().manual_seed(1)
    compared, wrong = gradients.too_small(
        network, [torch.rand(shape, generator=generator) for shape in shapes]
    )
    report = cs.inspect(network)
    if not gradients.probed_layers(network):  # patches as a batch, as in TNT: no layer has a map
        assert report.receptive_field.size == network[network.inputs[0]].shape[2:]
        return
    assert compared >= 3 and not wrong, "\n".join(wrong)
    # Nothing published is so cut up that a field has to be rounded up.
    for field in (report.receptive_field, report.local_receptive_field):
        assert field is None or "rounded up" not in field.reason


@pytest.mark.parametrize("spec", SMALLEST)
def test_no_field_is_smaller_than_its_gradient(spec):
    torch.manual_seed(0)
    check(load_model(spec), SMALLEST[spec])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_run_and_its_backbone_has_fields(name):
    """They keep as many boxes as score well: their shapes depend on values."""
    torch.manual_seed(0)
    model = load_model(f"torchvision:{name}").eval()
    with pytest.raises(
        cs.ConvsmithError, match=r"depends on the values of a tensor.* \(\w+\.py:\d+"
    ):
        cs.trace(model, IMAGE)
    report = cs.inspect(model, IMAGE)
    assert report.status == "measured" and report.macs > 0
    assert report.params == sum(p.numel() for p in model.parameters())
    assert any("model.backbone can be inspected by itself" in reason for reason in report.reasons)
    check(model.backbone, [CROP])


def test_every_family_has_a_network():
    specs = {f"torchvision:{name}" for name in torchvision.models.list_models()}
    specs |= {f"timm:{name}" for name in timm.list_models()}
    chosen = {*SMALLEST, *(f"torchvision:{name}" for name in DETECTORS)}
    assert chosen <= specs
    assert {family(spec) for spec in specs} == {*map(family, chosen), *LEFT_OUT}
    assert sum(spec.startswith("timm:") for spec in chosen) >= 100


def test_a_field_without_its_first_row_is_found_out(monkeypatch):
    def shorter(network, name, position):
        field = true_field(network, name, position)
        region = Region((rows - rows.of([rows.start]), columns) for rows, columns in field.region)
        return replace(field, region=region)

    monkeypatch.setattr(gradients, "true_field", shorter)
    network = cs.trace(gradients.awake(load_model("timm:resnet10t")), IMAGE)
    compared, wrong = gradients.too_small(network, [torch.rand(IMAGE)])
    assert len(wrong) == compared
    assert all(re.search(r"leaves out \d+ of \d+ pixels", text) for text in wrong)
