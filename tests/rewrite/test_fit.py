"""Refits against the least squares of numpy, on every form and both directions."""

from __future__ import annotations

import copy
from math import inf

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.fit import regression
from convsmith.rewrite.lightening.fit.activated import _Cut
from convsmith.rewrite.lightening.fit.following import Following
from convsmith.rewrite.lightening.fit.parts import refit_parts
from convsmith.rewrite.lightening.fit.refit import correct_bias, refit
from convsmith.rewrite.lightening.forms import Form, all_forms

FORM = pytest.mark.parametrize("form", all_forms(), ids=lambda form: form.name)
CONVS = {
    "grouped": (lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), 1, groups=2), (9, 8)),
    "same": (lambda: nn.Conv2d(3, 5, (3, 5), padding="same", dilation=(1, 2)), (9, 8)),
    "circular": (lambda: nn.Conv1d(3, 7, 4, padding=3, padding_mode="circular", bias=False), (20,)),
    "volume": (lambda: nn.Conv3d(2, 4, 2, (1, 2, 1)), (4, 5, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), 1, (1, 2), groups=2), (5, 4)),
    "cropped": (lambda: nn.ConvTranspose2d(3, 4, (1, 3), (2, 1), (2, 0), dilation=(1, 2)), (7, 5)),
}
SEED = 4
RELU = Following((), F.relu, (0, inf))
CASE = pytest.mark.parametrize("name", CONVS)


def case(name, form, images=14):
    """(light, original, maps that the two layers see), the light one after another layer."""
    make, size = CONVS[name]
    torch.manual_seed(SEED)
    conv = make().double()
    if form.reason(conv):
        return None
    # An earlier layer that has lost something: what the new layer is given is not what it was.
    before = nn.Conv1d(conv.in_channels, conv.in_channels, 1).double()
    moved = copy.deepcopy(before)
    with torch.no_grad():
        moved.weight.mul_(1 + 0.2 * torch.rand_like(moved.weight))
    full = form.full_rank(conv)
    rank = tuple(-(-r // 2) for r in full) if isinstance(full, tuple) else -(-full // 3)
    flat = nn.Flatten(2), nn.Unflatten(2, size)
    original = nn.Sequential(flat[0], before, flat[1], conv)
    light = nn.Sequential(flat[0], moved, flat[1], form.make(conv, rank))
    image = torch.randn(images, conv.in_channels, *size, dtype=torch.float64).cumsum(2)
    return light, original, image


def share(given, wanted):
    """The share of variance, channel by channel, that is left."""
    off, whole = (
        (values - values.mean((0, *range(2, values.ndim)), keepdim=True)).square().sum()
        for values in (given - wanted, wanted)
    )
    return float(off / whole)


def least_squares(light, original, image):
    """Design matrix by probing the last convolution with one weight at a time, then lstsq."""
    layer = light[3]
    probe = copy.deepcopy(layer.last)
    probe.bias = None
    with torch.no_grad():
        z, wanted = layer.body(light[:3](image)), original(image)
        columns = []
        for index in range(probe.weight.numel()):
            probe.weight.zero_().view(-1)[index] = 1
            columns.append(probe(z).flatten())
        for channel in range(wanted.shape[1]):
            ones = torch.zeros_like(wanted)
            ones[:, channel] = 1
            columns.append(ones.flatten())
    design, target = torch.stack(columns, 1).numpy(), wanted.flatten().numpy()
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    return torch.from_numpy(design @ solution).reshape(wanted.shape), wanted


@FORM
@CASE
def test_a_refit_is_least_squares(form, name):
    found = case(name, form)
    if found is None:
        return
    light, original, image = found
    best, wanted = least_squares(light, original, image)
    before = share(light(image), wanted)
    told = refit(light, original, list(image.split(5)), "3", ridge=1e-12)
    after = light(image)
    assert told == pytest.approx(share(best, wanted), rel=1e-6, abs=1e-9)
    assert share(after, wanted) == pytest.approx(told, rel=1e-6, abs=1e-9)
    assert told < before
    if light[3].last.bias is not None:
        assert torch.allclose(after, best, atol=1e-5)


@CASE
@pytest.mark.parametrize(
    "activation",
    [RELU, Following((), F.hardtanh, (-1, 1)), nn.SiLU()],
    ids=["relu", "hardtanh", "silu"],
)
def test_with_the_activation_in_mind_the_error_after_it_falls(name, activation):
    lower = []
    for form in all_forms():
        found = case(name, form)
        if found is None or found[0][3].last.bias is None:
            continue
        light, original, image = found
        plain = copy.deepcopy(light)
        refit(plain, original, [image], "3", ridge=1e-6)
        told = refit(light, original, [image], "3", ridge=1e-6, activation=activation)
        with torch.no_grad():
            wanted = activation(original(image))
            linear, after = (
                float((activation(net(image)) - wanted).square().sum()) for net in (plain, light)
            )
        centred = wanted - wanted.mean((0, *range(2, wanted.ndim)), keepdim=True)
        assert after <= linear * (1 + 1e-9)
        # What is told counts a shifted mean as an error, as the next layer would.
        assert told == pytest.approx(after / float(centred.square().sum()), rel=1e-6, abs=1e-12)
        lower.append(linear == 0 or after < linear)
    assert sum(lower) >= len(lower) - 1


@pytest.mark.parametrize("limits", [(0, inf), (-inf, 0.5), (-1, 0.5)])
def test_no_value_is_nearer_than_the_one_that_is_found(limits):
    """Of a function that cuts off, beside 4,001 others for each element."""
    cut, (answer, y) = _Cut(*limits), torch.randn(2, 1, 1, 300).double()
    target, weight = cut(y), torch.tensor(10.0).double() ** torch.randn(300).double()
    values = cut.between(answer, y, target, weight)
    others = torch.linspace(-4, 4, 4001).double()[:, None, None, None]

    def cost(value):
        return (cut(value) - target).square() + weight * (value - answer).square()

    assert (cost(values) <= cost(others).amin(0) + 1e-12).all()


def test_a_batch_norm_may_come_before_the_activation():
    light, original, image = case("grouped", Form("depthwise_pointwise"))
    norm = nn.BatchNorm2d(6).double().eval()
    with torch.no_grad():
        norm.running_var.uniform_(0.01, 2)
        norm.running_mean.uniform_(-1, 1)
        norm.weight.uniform_(0.1, 4)

    after = Following((norm,), F.relu, (0, inf))
    plain = copy.deepcopy(light)
    refit(plain, original, [image], "3")
    refit(light, original, [image], "3", activation=after)
    with torch.no_grad():
        wanted = after(original(image))
        errors = [(after(m(image)) - wanted).square().mean() for m in (plain, light)]
    assert errors[1] < 0.99 * errors[0]


@pytest.mark.parametrize("name", ["grouped", "same", "transposed"])
@pytest.mark.parametrize("chunk", [1, 200, 3000])
def test_chunks_change_nothing(name, chunk, monkeypatch):
    for form in all_forms():
        found = case(name, form)
        if found is None:
            continue
        light, original, image = found
        other = copy.deepcopy(light)
        told = refit(light, original, [image], "3")
        with monkeypatch.context() as patch:
            patch.setattr(regression, "_CHUNK", chunk)
            assert refit(other, original, [image], "3") == pytest.approx(told, rel=1e-9)
        assert torch.allclose(other(image), light(image), atol=1e-9)


def test_a_sample_of_places_is_enough(monkeypatch):
    light, original, image = case("same", Form("spatial"), images=60)
    plain = copy.deepcopy(light)
    refit(plain, original, [image], "3")
    monkeypatch.setattr(regression, "_SAMPLE", 2**14)
    refit(light, original, list(image.split(20)), "3", activation=RELU)
    with torch.no_grad():
        wanted = F.relu(original(image))
        errors = [(F.relu(m(image)) - wanted).square().mean() for m in (plain, light)]
    assert errors[1] < errors[0]


def test_a_direction_that_no_image_shows_keeps_its_weight():
    light, original, image = case("same", Form("tucker"))
    for net in (light, original):
        with torch.no_grad():
            net[1].bias.zero_()
    start = light[3].last.weight.clone()
    refit(light, original, [torch.zeros_like(image)], "3")
    assert torch.allclose(light[3].last.weight, start)


@FORM
def test_a_bias_is_corrected(form):
    light, original, image = case("transposed", form)
    for path in ("3", "1"):
        correct_bias(light, original, list(image.split(5)), path)
    correct_bias(light, original, list(image.split(5)), "3")
    means = [net(image).mean((0, 2, 3)) for net in (light, original)]
    assert torch.allclose(*means, atol=1e-9)
    light[3].last.bias = None
    with pytest.raises(ArgumentError, match=r"3: .* has no bias"):
        correct_bias(light, original, [image], "3")


@CASE
def test_both_halves_in_turn_lose_less(name):
    found = case(name, Form("depthwise_pointwise"))
    if found is None:
        return
    light, original, image = found
    single = refit(copy.deepcopy(light), original, [image], "3", ridge=1e-9)
    last = single * (1 + 1e-6) + 1e-9
    for rounds in (1, 3, 9):
        twin = copy.deepcopy(light)
        told = refit_parts(twin, original, list(image.split(5)), "3", ridge=1e-9, rounds=rounds)
        assert told == pytest.approx(share(twin(image), original(image)), rel=1e-6, abs=1e-9)
        assert told <= last
        last = told * (1 + 1e-6) + 1e-9
    assert told < single or single < 1e-9


def test_both_halves_settle_where_no_gradient_is_left():
    light, original, image = case("grouped", Form("depthwise_pointwise"))
    refit_parts(light, original, [image], "3", ridge=1e-9, rounds=300)
    loss = (light(image) - original(image)).square().mean() / original(image).var()
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in light[3].parameters()) < 1e-4


COMPOSED = [form for form in all_forms() if form.name != "depthwise_pointwise"]
CHAIN = pytest.mark.parametrize("form", COMPOSED, ids=lambda form: form.name)


@CHAIN
@CASE
def test_all_parts_in_turn_lose_less(form, name):
    found = case(name, form)
    if found is None:
        return
    light, original, image = found
    single = refit(copy.deepcopy(light), original, [image], "3", ridge=1e-9)
    last = single * (1 + 1e-6) + 1e-9
    for rounds in (1, 3, 9):
        twin = copy.deepcopy(light)
        batches = list(image.split(5))
        told = refit_parts(twin, original, batches, "3", ridge=1e-9, rounds=rounds)
        assert told == pytest.approx(share(twin(image), original(image)), rel=1e-6, abs=1e-9)
        assert told <= last
        last = told * (1 + 1e-6) + 1e-9
    assert told < single or single < 1e-9


@pytest.mark.slow
@CHAIN
def test_all_parts_settle_where_no_gradient_is_left(form):
    light, original, image = case("grouped", form)
    refit_parts(light, original, [image], "3", ridge=1e-9, rounds=300)
    loss = (light(image) - original(image)).square().mean() / original(image).var()
    loss.backward()
    # In units of the weights themselves: a chain is free to be large in one part, small in another.
    slopes = [float((p.grad * p).abs().max()) for p in light[3].parameters() if p.ndim > 1]
    assert max(slopes) < 1e-4


@CHAIN
def test_parts_keep_what_no_image_shows(form):
    light, original, image = case("same", form)
    for net in (light, original):
        with torch.no_grad():
            net[1].bias.zero_()
    start = copy.deepcopy(light[3].state_dict())
    refit_parts(light, original, [torch.zeros_like(image)], "3")
    for name, value in light[3].state_dict().items():
        if name.endswith("weight"):
            assert torch.allclose(value, start[name])


def test_an_axis_with_windows_in_two_parts_gets_the_plain_refit():
    light, original, image = case("grouped", Form("tucker"))
    first, last = light[3].shrink.out_channels, light[3].expand.in_channels
    light[3].core = nn.Conv2d(first, last, (3, 1), (2, 1), 1, groups=2).double()
    light[3].expand = nn.Conv2d(last, 6, (3, 2), 1, (1, 0), groups=2).double()
    twin = copy.deepcopy(light)
    assert refit_parts(twin, original, [image], "3") == refit(light, original, [image], "3")
    assert torch.equal(twin(image), light(image))


@pytest.mark.parametrize("form", [Form("depthwise_pointwise"), Form("spatial")])
def test_patches_too_large_for_their_moments_get_the_plain_refit(form, monkeypatch):
    from convsmith.rewrite.lightening.fit import refit as plain

    light, original, image = case("grouped", form)
    twin = copy.deepcopy(light)
    monkeypatch.setattr(plain, "_LARGEST", 3)
    assert refit_parts(twin, original, [image], "3") == refit(light, original, [image], "3")
    assert torch.equal(twin(image), light(image))
