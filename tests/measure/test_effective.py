"""Effective receptive fields against weights, convolutions of boxes and the exact field."""

from __future__ import annotations

import random
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure.effective import EffectiveField, effective_field
from convsmith.measure.receptive import local_field, true_field
from tests import networks, probe

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@given(
    kernel=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    channels=st.sampled_from([1, 2, 3, 5, 7]),
    outputs=st.sampled_from([1, 3]),
)
def test_of_one_convolution_the_map_is_its_weights(kernel, channels, outputs):
    conv = CONV[len(kernel)](channels, outputs, tuple(kernel)).double()
    # A map of 4: the unit in the middle is number 2.
    images = torch.randn(3, channels, *(k + 3 for k in kernel), dtype=torch.float64)
    found = effective_field(conv, images)
    expected = np.zeros(images.shape[2:])
    weights = conv.weight.detach().sum(0).abs().sum(0).numpy()
    expected[tuple(slice(2, 2 + k) for k in kernel)] = weights
    assert found.position == (2,) * len(kernel) and found.images == 3 and found.layer == ""
    assert found.map.dtype == np.float64
    np.testing.assert_allclose(found.map, expected, rtol=1e-13, atol=0)


def boxes(depth):
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False).double() for _ in range(depth)]
    for conv in layers:
        nn.init.constant_(conv.weight, 1 / 9)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("depth", [1, 4, 16])
def test_a_stack_of_uniform_convolutions_tends_to_a_gaussian(depth):
    side = 2 * depth + 1
    image = torch.rand(1, 1, side, side, dtype=torch.float64)
    found = effective_field(boxes(depth), image)
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3) / 3)
    np.testing.assert_allclose(found.map, np.outer(line, line), rtol=1e-12, atol=1e-18)
    # Variances add: each layer brings (3² - 1) / 12.
    sigma = np.sqrt(2 * depth / 3)
    assert found.deviation == pytest.approx((sigma, sigma))
    assert found.centre == (depth, depth)
    shares = [line[depth - r : depth + r + 1].sum() ** 2 for r in range(depth + 1)]
    for share in (0.5, 0.95):
        radius = next(r for r, held in enumerate(shares) if held >= share)
        assert found.width(share) == 2 * radius + 1
    # A Gaussian falls to 4.55 % of its peak 2.486 deviations out: a disc.
    if depth == 16:
        disc = np.sqrt(np.pi * -2 * np.log(1 - 0.9545)) * sigma
        assert found.size == pytest.approx(disc, rel=0.03)


def test_the_width_grows_like_the_root_of_the_depth_and_the_exact_field_linearly():
    image = torch.rand(1, 1, 81, 81, dtype=torch.float64)
    few, many = (effective_field(boxes(depth), image) for depth in (9, 36))
    exact = [local_field(cs.trace(boxes(depth), image), str(depth - 1)) for depth in (9, 36)]
    assert [field.size[0] for field in exact] == [19, 73]
    assert many.deviation[0] == pytest.approx(2 * few.deviation[0])
    assert many.width() == pytest.approx(2 * few.width(), abs=2)
    assert repr(many.beside(exact[1])) == (
        f"EffectiveField(output: 95 % of the gradient within {many.width()} of 73)"
    )


def field_of(values):
    return EffectiveField(np.array(values, dtype=float), "", (), 1)


def test_widths_by_hand():
    assert [field_of([0, 1, 2, 1, 0]).width(s) for s in (0.5, 0.51, 1)] == [1, 3, 3]
    assert [field_of([1, 3, 3, 1]).width(s) for s in (0.75, 0.76, 1)] == [2, 4, 4]
    # The box is centred: around a far-off peak it sticks out of the image.
    assert field_of([8, 0, 1]).centre == (0.222222222,)
    assert field_of([8, 0, 1]).width(1) == 5
    assert field_of([[0, 0, 0, 0, 0], [1, 2, 8, 2, 1], [0, 0, 0, 0, 0]]).width(0.9) == 5
    assert field_of(np.ones((4, 4, 4))).size == pytest.approx(4)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_is_more_than_nothing_and_at_most_all(share):
    with pytest.raises(ArgumentError, match="share"):
        field_of([1]).width(share)


@pytest.mark.parametrize(("dims", "seed"), [(d, s) for d in (1, 2, 3) for s in range(8)])
def test_nothing_outside_the_exact_field(dims, seed):
    rng = random.Random(100 * dims + seed)
    torch.manual_seed(seed)
    size = tuple(rng.randint(*{1: (7, 29), 2: (5, 13), 3: (4, 7)}[dims]) for _ in range(dims))
    model = probe.network(rng, dims, size)
    images = torch.rand(2, 2, *size, dtype=torch.float64) + 0.5
    network = cs.trace(model, images)
    exact = true_field(network, network.outputs[0])  # of the middle as well
    if not exact.region:
        with pytest.raises(ArgumentError, match="padding alone"):
            effective_field(model, images, "")
        return
    found = effective_field(model, images, "")
    read = np.zeros(size, dtype=bool)
    for box in exact.region:
        read[np.ix_(*map(list, box))] = True
    assert found.map.sum() > 0
    assert not found.map[~read].any()
    if not any(isinstance(module, probe.MaxPool) for module in model.modules()):
        assert np.array_equal(found.map > 0, read)


class Classifier(nn.Module):
    def __init__(self, *head):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1, bias=False),
            nn.BatchNorm2d(5),
            nn.ReLU(inplace=True),
            nn.Conv2d(5, 7, 3, stride=2, padding=1),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(7, 11), nn.Dropout(), *head)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        return self.head(self.pool(F.relu(self.body(x), inplace=True)))


def test_class_scores_are_measured_at_the_last_map():
    images = torch.randn(4, 3, 13, 11)
    model = Classifier()
    found = effective_field(model, images)
    assert found.layer == "body" and found.position == (3, 3)
    body = effective_field(model.body, images)
    np.testing.assert_allclose(found.map, body.map, rtol=1e-5)
    whole = effective_field(model, images, "head")
    assert whole.position == () and np.count_nonzero(whole.map) > 100


def test_a_layer_is_read_before_what_works_in_place_behind_it():
    images = torch.randn(5, 3, 9, 9)
    model = Classifier()
    found = effective_field(model, images, "body.1")
    scale = (model.body[1].weight / (model.body[1].running_var + 1e-5).sqrt()).detach()
    weights = (model.body[0].weight.detach() * scale[:, None, None, None]).sum(0).abs().sum(0)
    expected = np.zeros((9, 9))
    expected[3:6, 3:6] = weights.numpy()
    np.testing.assert_allclose(found.map, expected, rtol=1e-5, atol=1e-7)


def test_without_any_map_the_whole_output_is_summed():
    linear = nn.Linear(12, 2).double()
    images = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    found = effective_field(nn.Sequential(nn.Flatten(), linear), images)
    assert (found.layer, found.position) == ("", ())
    expected = linear.weight.detach().sum(0).abs().reshape(3, 4).numpy()
    np.testing.assert_allclose(found.map, expected, rtol=1e-13)


def test_channels_that_cancel_are_refused_and_measured_with_signs():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Softmax(dim=1))
    images = torch.randn(2, 3, 9, 9)
    with pytest.raises(ArgumentError, match=r"cancel.*signs=True"):
        effective_field(model, images)
    found = effective_field(model, images, signs=True)
    assert np.count_nonzero(found.map) == 9
    assert np.array_equal(found.map, effective_field(model, images, signs=True).map)


def test_images_come_as_arrays_or_batches():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 3)).double()
    images = torch.randn(19, 2, 7, 8, dtype=torch.float64)
    expected = np.zeros((7, 8))
    for image in images:  # one by one, through the whole Jacobian
        jacobian = torch.autograd.functional.jacobian(model, image[None])
        expected += jacobian[0, :, 1, 2, 0].sum(0).abs().sum(0).numpy() / 19
    batches = images.split(5)
    for given_images in (
        images,
        images.numpy(),
        batches,
        ((batch, torch.zeros(len(batch))) for batch in batches),
        [{"image": batch} for batch in batches],
    ):
        found = effective_field(model, given_images)
        assert found.images == 19
        np.testing.assert_allclose(found.map, expected, rtol=1e-10, atol=1e-15)


class InPlace(nn.Module):
    def forward(self, x):
        return x.mul_(2)


def test_the_model_and_the_images_are_left_as_they_were():
    model = nn.Sequential(InPlace(), Classifier(), nn.Dropout())
    model[1].body.eval()
    model[1].body[3].weight.requires_grad_(False)
    images = torch.randn(3, 3, 8, 8)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    trained = [p.requires_grad for p in model.parameters()]
    before, kept = torch.get_rng_state(), images.clone()
    with torch.no_grad():
        effective_field(model, images, signs=True)
        with pytest.raises(ArgumentError):
            effective_field(model, torch.zeros(1, 4, 8, 8))
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        effective_field(model, images.clone())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(images, kept) and not images.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == trained
    assert [module.training for module in model.modules()] == flags
    assert not any(module._forward_hooks for module in model.modules())
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_a_residual_network_beside_its_exact_field():
    model = networks.resnet18()
    found = effective_field(model, torch.randn(1, 3, 64, 64))
    network = cs.trace(model, (1, 3, 64, 64))
    inside = [x.name for x in network if f"{x.path}.".startswith(f"{found.layer}.")]
    exact = local_field(network, inside[-1])
    assert found.position == (1, 1)
    assert repr(found.beside(exact)).endswith(f"within {found.width()} of 435)")
    plain = found.beside(exact).to_dict()
    assert plain["exact"]["size"] == [435, 435] and "map" not in plain
    assert plain["width_50"] < plain["width_95"] == found.width()
    assert "435" in found.beside(exact)._repr_html_()
    assert found.beside(exact).to_pandas()["layer"][0] == found.layer


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


SMALL = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("model", "images", "layer", "message"),
    [
        (Classifier(), torch.zeros(0, 3, 8, 8), None, "no images"),
        (Classifier(), [], None, "no images"),
        (Classifier(), [torch.zeros(0, 3, 8, 8)], None, "no images"),
        (Classifier(), "photos", None, "not str"),
        (Classifier(), [1, 2], None, "not int"),
        (Classifier(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), None, "uint8"),
        (Classifier(), torch.zeros(3, 8), None, r"\(3, 8\)"),
        (Classifier(), torch.zeros(1, 3, 0, 8), None, "shaped"),
        (Classifier(), [SMALL, torch.zeros(1, 3, 8, 9)], None, "one shape"),
        (Classifier(), SMALL, "body.33", "did you mean 'body.3'"),
        (Classifier(), SMALL, "unused", "'unused' is not called"),
        (Classifier(), torch.zeros(1, 4, 8, 8), None, r"refuses images shaped \(1, 4, 8, 8\)"),
        (Classifier(), SMALL / 0, None, "NaN"),
        (Root(), SMALL, None, "not finite"),
        (nn.Conv2d(3, 1, 3, device="meta"), SMALL, None, "meta"),
        (Detached(), SMALL, None, "no gradient"),
        (nn.Sequential(nn.Conv2d(3, 1, 3), Detached()), SMALL, None, "no gradient"),
        (nn.Threshold(1, 0), SMALL, None, "no gradient"),
        (lambda x: x, SMALL, None, "torch.nn.Module, not function"),
    ],
)
def test_bad_input_is_named(model, images, layer, message):
    with pytest.raises(ArgumentError, match=message):
        effective_field(model, images, layer)


def test_an_exact_field_of_other_axes_is_refused():
    line = local_field(cs.trace(nn.Conv1d(1, 1, 3), (1, 1, 9)), "conv1d")
    with pytest.raises(ArgumentError, match="1 axes beside a map of 2"):
        field_of(np.ones((3, 3))).beside(line)


def boxes_of(figure):
    root = ElementTree.fromstring(figure.svg)
    rects = {r.get("class"): r for r in root.iter("{http://www.w3.org/2000/svg}rect")}
    return {
        name: [float(rects[name].get(k)) for k in ("x", "y", "width", "height")]
        for name in ("frame", "mark", "dots")
        if name in rects
    }


def test_the_picture_shows_the_boxes_around_the_centre():
    found = effective_field(boxes(4), torch.rand(2, 1, 9, 9, dtype=torch.float64))
    exact = local_field(cs.trace(boxes(4), (1, 1, 9, 9), ), "3")  # fmt: skip
    found = replace(found.beside(exact), source="noise")
    figure = found.figure()
    assert figure.svg == found.figure().svg
    shown = boxes_of(figure)
    wide = {"frame": 9, "mark": found.width(), "dots": found.width(0.5)}
    for name, side in wide.items():
        assert shown[name] == [1 + 22 * (9 - side) / 2] * 2 + [22 * side] * 2
    assert "mean over 2 images (noise)" in figure.caption and "Shown" not in figure.caption
    assert f"95 % of the gradient within {found.width()}" in figure.svg
    assert "<svg" in found._repr_html_() and found.to_dict()["source"] == "noise"
    assert "2 images (noise)" in found.table().note


def test_the_picture_of_a_small_field_shows_its_part_of_the_image():
    values = np.zeros((40, 30))
    values[20, 7] = values[21, 9] = 1  # around (20.5, 8), all of it within 3
    figure = field_of(values).figure()
    assert "Shown: 18 … 23 × 6 … 10 of 40×30." in figure.caption
    assert field_of(np.eye(40)).figure().caption.count("Shown") == 0


@pytest.mark.parametrize("shape", [(31,), (5, 40, 12)])
def test_pictures_of_one_and_three_axes(shape):
    values = np.random.default_rng(0).random(shape)
    figure = field_of(values).figure()
    ElementTree.fromstring(figure.svg)
    assert ("Slice 3 of 5 along the first axis." in figure.caption) == (len(shape) == 3)


def test_an_exact_field_beyond_the_image_is_said_so():
    found = effective_field(boxes(4), torch.rand(1, 1, 5, 5, dtype=torch.float64))
    exact = local_field(cs.trace(boxes(4), (1, 1, 5, 5)), "3")
    svg = found.beside(exact).figure().svg
    assert "exact field 9×9, beyond the image" in svg
