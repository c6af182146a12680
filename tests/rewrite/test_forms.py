"""The forms a convolution may take: exact at full rank, and what each costs and loses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.nn.plain import arithmetic_of
from convsmith.rewrite.lightening.forms import all_forms
from tests.nn.layers import distance
from tests.nn.test_forms import expected_error, layers, second_moments, weight_of

FORM = pytest.mark.parametrize("form", all_forms(), ids=lambda form: form.name)
CP, DEPTHWISE_FIRST, POINTWISE_FIRST, SPATIAL, TUCKER = all_forms()


def parameters(layer):
    return sum(p.numel() for p in layer.parameters())


def any_rank(draw, form, conv):
    full = form.full_rank(conv)
    if isinstance(full, tuple):
        return tuple(draw(st.integers(1, most)) for most in full)
    return draw(st.integers(1, full))


@FORM
@given(data=st.data())
def test_every_form_is_exact_at_full_rank(form, data):
    conv, size = data.draw(layers(data.draw(st.integers(1, 3))))
    assume(not form.reason(conv))
    moments = second_moments(conv, 5) if data.draw(st.booleans()) else None
    layer = form.make(conv, form.full_rank(conv), moments)
    image = torch.randn(2, conv.in_channels, *size, dtype=torch.float64)
    with torch.no_grad():
        assert distance(layer(image), conv(image)) <= 1e-9
    (error,) = form.error(conv, [form.full_rank(conv)], moments)
    assert error == pytest.approx(0, abs=1e-9)


@FORM
@settings(max_examples=settings().max_examples // 4)  # each of them traces a network
@given(data=st.data())
def test_costs_are_those_that_inspect_counts(form, data):
    conv, size = data.draw(layers(data.draw(st.integers(1, 3))))
    assume(not form.reason(conv))
    rank = any_rank(data.draw, form, conv)
    layer = form.make(conv, rank)
    assert form.params(conv, rank) == parameters(layer)
    image = torch.zeros(1, conv.in_channels, *size, dtype=torch.float64)
    counted = cs.inspect(nn.Sequential(layer), image)
    assert form.macs(conv, size, rank) == counted.macs


@FORM
@given(data=st.data())
def test_ranks_are_cheaper_than_the_convolution_and_ascend(form, data):
    conv, size = data.draw(layers(data.draw(st.integers(1, 3))))
    ranks = form.ranks(conv, size)
    if form.reason(conv):
        assert ranks == ()
        return
    costs = [form.macs(conv, size, rank) for rank in ranks]
    assert costs == sorted(costs)
    assert all(cost < arithmetic_of(conv).macs(size) for cost in costs)
    assert len(set(ranks)) == len(ranks)
    for rank in ranks:
        assert form.params(conv, rank) == parameters(form.make(conv, rank))


def test_there_is_a_handful_of_ranks():
    conv = nn.Conv2d(64, 128, 3, padding=1)
    assert DEPTHWISE_FIRST.ranks(conv, (28, 28)) == tuple(range(1, 9))
    assert POINTWISE_FIRST.ranks(conv, (28, 28)) == (1, 2, 3, 4, 5, 6, 7)
    for form in (CP, SPATIAL, TUCKER):
        assert 4 <= len(form.ranks(conv, (28, 28))) <= 8
    # As large a map as can be: no size is given.
    assert DEPTHWISE_FIRST.ranks(conv) == tuple(range(1, 9))
    assert all(inner == 3 for inner, _ in TUCKER.ranks(nn.Conv2d(3, 64, 7, 2)))


def test_a_pointwise_convolution_before_a_stride_pays_for_the_larger_map():
    conv = nn.Conv2d(32, 64, 3, stride=2, padding=1)
    still = nn.Conv2d(32, 64, 3, padding=1)
    assert max(POINTWISE_FIRST.ranks(conv, (16, 16)), default=0) < max(
        POINTWISE_FIRST.ranks(still, (16, 16))
    )


@pytest.mark.parametrize(
    ("conv", "reasons"),
    [
        (
            nn.Conv2d(8, 8, 1),
            ("pointwise already", "pointwise already", "pointwise already", "no two axes", ""),
        ),
        (
            nn.Conv2d(8, 8, 3, groups=8),
            ("one channel", "depthwise", "nothing to mix", "depthwise", "one channel"),
        ),
        (nn.Conv2d(1, 8, 3), ("one channel", "one channel", "nothing to mix", "", "one channel")),
        (nn.Conv1d(8, 8, 5), ("", "", "", "no two axes", "")),
        (nn.Conv2d(8, 8, (1, 7)), ("", "", "", "no two axes", "")),
        (nn.ConvTranspose3d(8, 8, 2, 2), ("", "", "", "", "")),
    ],
)
def test_what_cannot_be_says_why(conv, reasons):
    for form, reason in zip(all_forms(), reasons, strict=True):
        assert reason in form.reason(conv)
        assert bool(reason) == bool(form.reason(conv))


def some_ranks(form, conv):
    full = form.full_rank(conv)
    if isinstance(full, tuple):
        return [(1, 1), (2, 3), (3, 4), (5, 4), full]
    return [*range(1, full + 1)]


@FORM
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("informed", [False, True])
def test_errors_are_what_the_layer_really_loses(form, groups, informed):
    """White patches, or patches of these covariances: the response to them, by probing."""
    conv = nn.Conv2d(6 * groups, 5 * groups, 3, groups=groups, dtype=torch.float64)
    moments = second_moments(conv, 12) if informed else None
    ranks = some_ranks(form, conv)
    errors = form.error(conv, ranks, moments)
    covariance = torch.eye(9).double().expand(6 * groups, 9, 9) if moments is None else moments
    dense = weight_of(conv, conv)
    total = expected_error(dense, torch.zeros_like(dense), covariance)
    for rank, told in zip(ranks, errors, strict=True):
        near = weight_of(form.make(conv, rank, moments), conv)
        assert told == pytest.approx(expected_error(dense, near, covariance) / total, abs=1e-10)
    if not informed:
        assert errors == sorted(errors, reverse=True)
    assert 0 < errors[0] < 1
    assert errors[-1] == pytest.approx(0, abs=1e-10)


@FORM
def test_moments_lower_the_error_they_weigh(form):
    """Smooth maps of unequal strength, as images are: weighing by them must pay."""
    conv = nn.Conv2d(8, 12, 3, dtype=torch.float64)
    image = torch.randn(8, 1, 400, 3, 3, dtype=torch.float64).cumsum(3).cumsum(4)
    image = image * torch.linspace(0.1, 4, 8)[:, None, None, None, None]
    patches = image.reshape(8, 400, 9).transpose(1, 2)
    moments = patches @ patches.mT / 400
    dense = weight_of(conv, conv)
    for rank in some_ranks(form, conv)[:3]:
        plain, informed = (
            expected_error(dense, weight_of(form.make(conv, rank, m), conv), moments)
            for m in (None, moments)
        )
        assert informed < plain


@FORM
def test_compiled_networks_compute_the_same(form):
    torch.manual_seed(5)
    convs = [
        nn.Conv2d(5, 12, 3, padding=1),
        nn.Conv2d(12, 12, (3, 5), stride=2, padding=(1, 2), groups=2),
        nn.Conv2d(12, 20, 3, padding="same", dilation=2),
        nn.Conv2d(20, 8, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1),
    ]
    layers = []
    for conv in convs:
        rank = form.full_rank(conv)
        half = tuple(-(-r // 2) for r in rank) if isinstance(rank, tuple) else -(-rank // 2)
        layers += [form.make(conv, half), nn.BatchNorm2d(conv.out_channels), nn.ReLU()]
    model = nn.Sequential(*layers).eval()
    image = torch.randn(2, 5, 23, 17)
    with torch.no_grad():
        wanted = model(image)
        assert distance(cs.compile(model, image)(image), wanted) <= 1e-5


def test_a_form_says_its_name():
    assert [form.name for form in all_forms()] == [
        "cp", "depthwise_pointwise", "pointwise_depthwise", "spatial", "tucker",
    ]  # fmt: skip
    assert "spatial" in repr(SPATIAL)
