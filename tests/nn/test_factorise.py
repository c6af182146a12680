"""Factors of a weight: exact at full rank, and the closest there are below it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.nn import DepthwiseSeparableConv2d, separable_factors, separable_rank
from tests.nn.layers import channels, distance, product

seeds = st.integers(0, 2**31)


@st.composite
def weights(draw, largest=5):
    """(weight, groups, transposed) in float64, one to three spatial axes."""
    dims = draw(st.integers(1, 3))
    inputs, outputs, groups = draw(channels())
    kernel = [draw(st.integers(1, largest if dims < 3 else 3)) for _ in range(dims)]
    transposed = draw(st.booleans())
    shape = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    weight = torch.from_numpy(generator(draw(seeds)).standard_normal((*shape, *kernel)))
    return weight, groups, transposed


def generator(seed):
    return np.random.default_rng(seed)


def matrices(weight, groups=1, transposed=False):
    """M_i of every input channel, shaped (outputs it reaches, taps)."""
    if transposed:
        return [part.reshape(weight.shape[1], -1).numpy() for part in weight]
    parts = weight.chunk(groups)
    return [p[:, i].flatten(1).numpy() for p in parts for i in range(weight.shape[1])]


def second_moments(seed, inputs, taps, rank):
    samples = generator(seed).standard_normal((inputs, taps, rank))
    return torch.from_numpy(samples @ samples.transpose(0, 2, 1) / rank)


def expected_errors(weight, approximation, moments, groups=1, transposed=False):
    """E |(M - N) x|^2 of every input channel."""
    pairs = zip(
        matrices(weight, groups, transposed),
        matrices(approximation, groups, transposed),
        moments.numpy(),
        strict=True,
    )
    return np.array([np.trace((m - n) @ c @ (m - n).T) for m, n, c in pairs])


def least_errors(weight, moments, multiplier, groups=1, transposed=False):
    """What no matrices of this rank can go below, by numpy and a root of its own."""
    least = []
    for m, c in zip(matrices(weight, groups, transposed), moments.numpy(), strict=True):
        values, vectors = np.linalg.eigh(c)
        root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
        tail = np.linalg.svd(m @ root, compute_uv=False)[multiplier:]
        least.append((tail**2).sum())
    return np.array(least)


def scales(weight, moments, groups=1, transposed=False):
    """|M|^2 |C|: the size rounding is measured against."""
    found = matrices(weight, groups, transposed)
    return np.array(
        [(m**2).sum() * np.abs(c).max() for m, c in zip(found, moments.numpy(), strict=True)]
    )


@given(weights(), st.booleans(), seeds)
def test_full_rank_is_exact_with_any_moments(case, informed, seed):
    weight, groups, transposed = case
    rank = separable_rank(weight, groups, transposed=transposed)
    moments = None
    if informed:
        taps = weight[0, 0].numel()
        inputs = weight.shape[0] if transposed else weight.shape[1] * groups
        moments = second_moments(seed, inputs, taps, rank=max(1, taps // 2))
    factors = separable_factors(weight, groups, rank, moments, transposed)
    assert distance(product(*factors, groups, rank, transposed), weight) <= 1e-12


@given(weights(), st.data())
def test_shapes_are_those_of_the_torch_layers(case, data):
    weight, groups, transposed = case
    rank = separable_rank(weight, groups, transposed=transposed)
    multiplier = data.draw(st.integers(1, rank))
    depthwise, pointwise = separable_factors(weight, groups, multiplier, None, transposed)
    kernel = tuple(weight.shape[2:])
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    layout = (inputs, multiplier) if transposed else (inputs * multiplier, 1)
    assert depthwise.shape == (*layout, *kernel)
    assert pointwise.shape == (outputs, inputs * multiplier // groups, *(1 for _ in kernel))


@given(weights(), st.data())
def test_the_error_is_the_tail_of_the_singular_values(case, data):
    weight, groups, transposed = case
    rank = separable_rank(weight, groups, transposed=transposed)
    multiplier = data.draw(st.integers(1, rank))
    factors = separable_factors(weight, groups, multiplier, transposed=transposed)
    close = product(*factors, groups, multiplier, transposed)
    pairs = zip(
        matrices(weight, groups, transposed), matrices(close, groups, transposed), strict=True
    )
    for m, n in pairs:
        tail = np.linalg.svd(m, compute_uv=False)[multiplier:]
        error = np.linalg.norm(m - n)
        assert error == pytest.approx(np.sqrt((tail**2).sum()), abs=1e-12 * np.linalg.norm(m))


@given(weights(), st.data(), seeds)
def test_the_expected_error_is_the_least_there_is(case, data, seed):
    weight, groups, transposed = case
    taps = weight[0, 0].numel()
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    moments = second_moments(seed, inputs, taps, data.draw(st.integers(1, 2 * taps)))
    rank = separable_rank(weight, groups, transposed=transposed)
    multiplier = data.draw(st.integers(1, rank))
    rest = (groups, transposed)

    informed = separable_factors(weight, groups, multiplier, moments, transposed)
    plain = separable_factors(weight, groups, multiplier, None, transposed)
    error, plain_error = (
        expected_errors(weight, product(*f, groups, multiplier, transposed), moments, *rest)
        for f in (informed, plain)
    )

    rounding = 1e-11 * scales(weight, moments, *rest)
    assert all(torch.isfinite(factor).all() for factor in informed)
    assert (error <= least_errors(weight, moments, multiplier, *rest) + rounding).all()
    assert (error <= plain_error + rounding).all()


def test_moments_pay_where_patches_are_correlated():
    """On smooth patches the whitened error is clearly below the plain one, not just no larger."""
    weight = torch.from_numpy(generator(0).standard_normal((30, 7, 3, 3)))
    row = torch.tensor([[0.9 ** abs(a - b) for b in range(3)] for a in range(3)]).double()
    moments = torch.kron(row, row).expand(7, 9, 9)
    errors = []
    for given_moments in (moments, None):
        factors = separable_factors(weight, 1, 2, given_moments)
        errors.append(expected_errors(weight, product(*factors, 1, 2), moments).sum())
    assert errors[0] < 0.7 * errors[1]


def test_spare_ranks_go_where_the_plain_decomposition_would_put_them():
    """Only tap 0 is ever seen: one pair serves it, the others serve what the weight holds."""
    weight = torch.from_numpy(generator(1).standard_normal((11, 1, 3, 3)))
    moments = torch.zeros(1, 9, 9).double()
    moments[0, 0, 0] = 5.0
    factors = separable_factors(weight, 1, 4, moments)
    close = product(*factors, 1, 4)
    assert expected_errors(weight, close, moments)[0] <= 1e-11 * scales(weight, moments)[0]

    m = matrices(weight)[0]
    seen = m[:, :1] / np.linalg.norm(m[:, 0])
    unserved = m - seen @ (seen.T @ m)
    tail = np.linalg.svd(unserved, compute_uv=False)[3:]
    error = np.linalg.norm(m - matrices(close)[0])
    assert error == pytest.approx(np.sqrt((tail**2).sum()), rel=1e-5)


def test_a_channel_that_was_always_zero_is_split_as_without_moments():
    weight = torch.from_numpy(generator(2).standard_normal((5, 2, 3, 3)))
    moments = second_moments(3, 2, 9, 9)
    moments[1] = 0
    informed = product(*separable_factors(weight, 1, 2, moments), 1, 2)
    plain = product(*separable_factors(weight, 1, 2), 1, 2)
    assert distance(informed[:, 1], plain[:, 1]) <= 1e-12
    assert distance(informed[:, 0], plain[:, 0]) > 1e-3


@given(weights(), st.floats(1e-8, 1e8), seeds)
def test_the_scale_of_the_moments_does_not_matter(case, scale, seed):
    weight, groups, transposed = case
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    taps = weight[0, 0].numel()
    moments = second_moments(seed, inputs, taps, taps + 1)
    errors = []
    for factor in (1.0, scale):
        factors = separable_factors(weight, groups, 1, moments * factor, transposed)
        close = product(*factors, groups, 1, transposed)
        errors.append(expected_errors(weight, close, moments, groups, transposed))
    assert np.abs(errors[0] - errors[1]).max() <= 1e-11 * scales(weight, moments, *case[1:]).max()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_expected_error_is_the_one_measured_on_maps(stride, transposed):
    """Patches are what unit kernels answer, so this settles the order of taps and what a patch is
    for a transposed convolution, zeros between values included."""
    noise = generator(4).standard_normal((3, 1, 17, 13))
    maps = torch.from_numpy(np.cumsum(noise, axis=-1))
    weight = torch.from_numpy(generator(5).standard_normal((8, 1, 4, 3)))
    weight = weight.transpose(0, 1).contiguous() if transposed else weight
    apply = F.conv_transpose2d if transposed else F.conv2d
    taps = torch.eye(12, dtype=torch.float64).reshape(12, 1, 4, 3)
    patches = torch.cat([apply(maps, tap[None], stride=stride).flatten()[None] for tap in taps])
    moments = (patches @ patches.T / patches.shape[1])[None]

    measured = []
    for given_moments in (moments, None):
        factors = separable_factors(weight, 1, 2, given_moments, transposed)
        close = product(*factors, 1, 2, transposed)
        gap = apply(maps, weight, stride=stride) - apply(maps, close, stride=stride)
        measured.append(gap.square().mean(dim=(0, 2, 3)).sum().item())
        formula = expected_errors(weight, close, moments, 1, transposed)[0]
        assert measured[-1] == pytest.approx(formula, rel=1e-9)
    least = least_errors(weight, moments, 2, 1, transposed)[0]
    assert measured[0] == pytest.approx(least, rel=1e-9)
    assert measured[0] < measured[1]


@given(weights(), st.data())
def test_pairs_are_balanced_ordered_and_signed(case, data):
    weight, groups, transposed = case
    rank = separable_rank(weight, groups, transposed=transposed)
    multiplier = data.draw(st.integers(1, rank))
    depthwise, pointwise = separable_factors(weight, groups, multiplier, None, transposed)
    kernels = depthwise.reshape(-1, weight[0, 0].numel())
    per_group = pointwise.reshape(groups, pointwise.shape[0] // groups, -1)
    columns = per_group.transpose(1, 2).flatten(0, 1)
    scale = float(weight.norm()) ** 0.5
    assert torch.allclose(kernels.norm(dim=1), columns.norm(dim=1), rtol=1e-9, atol=1e-12 * scale)
    norms = kernels.norm(dim=1).reshape(-1, multiplier)
    assert (norms.diff(dim=1) <= 1e-12 * scale).all()
    largest = kernels.gather(1, kernels.abs().argmax(dim=1, keepdim=True))
    ties = kernels.abs() >= (1 - 1e-6) * kernels.abs().amax(dim=1, keepdim=True)
    assert ((largest > 0).flatten() | (ties.sum(dim=1) > 1)).all()


@pytest.mark.parametrize("nudge", [1e-12, -1e-12])
def test_the_sign_of_an_edge_kernel_does_not_hang_on_rounding(nudge):
    edge = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]).double()
    edge[1, 2] += nudge
    column = torch.tensor([-3.0, 1.0, 2.0]).double()
    weight = (column[:, None, None] * edge)[:, None]
    depthwise, pointwise = separable_factors(weight)
    assert depthwise[0, 0, 1, 0] > 0 > depthwise[0, 0, 1, 2]
    assert pointwise.flatten().sign().tolist() == [-1, 1, 1]


def test_zero_weights_give_zero_factors():
    weight = torch.zeros(4, 2, 3, 3)
    weight[:, 1] = 1.0
    depthwise, pointwise = separable_factors(weight, 1, 2)
    assert torch.isfinite(depthwise).all()
    assert torch.isfinite(pointwise).all()
    assert torch.equal(depthwise[:2], torch.zeros(2, 1, 3, 3))
    assert torch.allclose(product(depthwise, pointwise, 1, 2), weight.double(), atol=1e-6)


def test_a_separable_weight_needs_no_more_than_its_own_rank():
    layer = DepthwiseSeparableConv2d(6, 9, (3, 5), groups=3, multiplier=2, dtype=torch.float64)
    weight = product(layer.depthwise.weight, layer.pointwise.weight, 3, 2)
    factors = separable_factors(weight, 3, 2)
    assert distance(product(*factors, 3, 2), weight) <= 1e-12
    assert distance(product(*separable_factors(weight, 3, 1), 3, 1), weight) > 1e-2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_factors_are_computed_in_float64_and_returned_in_the_dtype(dtype):
    weight = torch.randn(12, 5, 3, 3).to(dtype)
    exact = separable_factors(weight.double(), 1, 4)
    for factor, reference in zip(separable_factors(weight, 1, 4), exact, strict=True):
        assert factor.dtype == dtype
        assert torch.equal(factor, reference.to(dtype))


def test_factors_leave_the_graph_and_the_weight_alone():
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    before = weight.detach().clone()
    moments = second_moments(0, 3, 9, 9)
    kept = moments.clone()
    depthwise, pointwise = separable_factors(weight, 1, 2, moments)
    assert not depthwise.requires_grad
    assert not pointwise.requires_grad
    depthwise.fill_(7)
    assert torch.equal(weight, before)
    assert torch.equal(moments, kept)


def test_moments_of_lower_precision_are_accepted():
    """float32 sums are neither quite symmetric nor quite positive: that is no error."""
    patches = torch.randn(2, 9, 4)
    moments = patches @ patches.mT
    moments[0, 0, 1] *= 1 + 1e-6
    weight = torch.randn(6, 2, 3, 3)
    factors = separable_factors(weight, 1, 4, moments)
    close = product(*factors, 1, 4)
    error = expected_errors(weight.double(), close, moments.double())
    assert (error <= 1e-6 * scales(weight.double(), moments.double())).all()


MOMENTS = torch.eye(9).repeat(3, 1, 1)
SKEWED = MOMENTS.clone()
SKEWED[1, 0, 1] = 0.5
NEGATIVE = MOMENTS.clone()
NEGATIVE[2, 4, 4] = -0.5
HOLED = MOMENTS.clone()
HOLED[0, 0, 0] = torch.nan
WEIGHT = torch.ones(8, 3, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WEIGHT, 1, 9), "multiplier=9 exceeds the full rank 8, .*groups=8 and 9 taps"),
        ((torch.ones(30, 3, 3, 3), 1, 10), "multiplier=10 exceeds the full rank 9, .*=30 and 9"),
        ((torch.ones(8, 2, 3, 3), 4, 3), "exceeds the full rank 2"),
        ((torch.ones(3, 2, 3, 3), 1, 3, None, True), "exceeds the full rank 2"),
        ((WEIGHT, 1, 0), "multiplier must be an integer of at least 1, not 0"),
        ((WEIGHT, 1, 1.0), "multiplier must be an integer, not 1.0"),
        ((WEIGHT, 3), r"groups=3 must divide the first axis of weight \(8, 3, 3, 3\)"),
        ((WEIGHT, 0), "groups must be an integer of at least 1, not 0"),
        ((torch.ones(8, 3),), r"weight of shape \(8, 3\)"),
        ((torch.ones(8, 0, 3),), r"weight of shape \(8, 0, 3\)"),
        ((torch.ones(8, 3, 3, dtype=torch.int64),), "torch.int64 must be a real"),
        ((torch.ones(8, 3, 3, dtype=torch.complex64),), "torch.complex64 must be a real"),
        ((WEIGHT * torch.inf,), "weight must be finite"),
        ((WEIGHT.to("meta"),), "weight is on device 'meta'"),
        ((WEIGHT, 1, 1, MOMENTS[:2]), r"\(2, 9, 9\) must be .* = \(3, 9, 9\)"),
        ((WEIGHT, 1, 1, MOMENTS[:, :4, :4]), r"\(3, 4, 4\) must be"),
        ((WEIGHT, 1, 1, SKEWED), "symmetric and positive semidefinite"),
        ((WEIGHT, 1, 1, NEGATIVE), "symmetric and positive semidefinite"),
        ((WEIGHT, 1, 1, HOLED), "moments must be finite"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        separable_factors(*arguments)
    assert "\n" not in str(caught.value)


def test_the_full_rank_is_reached_and_not_exceeded():
    assert separable_rank(torch.zeros(30, 3, 3, 3)) == 9
    assert separable_rank(torch.zeros(8, 2, 3, 3), 4) == 2
    assert separable_rank(torch.zeros(6, 5, 2), transposed=True) == 2
    assert separable_rank(torch.zeros(6, 5, 3, 3), 2, transposed=True) == 5
    with pytest.raises(ArgumentError, match="groups=4 must divide"):
        separable_rank(torch.zeros(6, 5, 3, 3), 4, transposed=True)
