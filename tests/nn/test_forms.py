"""Composed layers: exact at full rank, the closest there is below it, and a drop-in anywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.nn import (
    CPConv,
    Factored,
    PointwiseFirstConv,
    SpatiallySeparableConv,
    TuckerConv,
)
from tests.nn.layers import PLAIN, convolutions, distance
from tests.specifications import transposed
from tests.thoroughness import examples

TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
KINDS = (CPConv, PointwiseFirstConv, SpatiallySeparableConv, TuckerConv)
KIND = pytest.mark.parametrize("kind", KINDS)
# One axis alone is not to be separated from others.
CASE = pytest.mark.parametrize(
    ("kind", "dims"),
    [(k, d) for k in KINDS for d in (1, 2, 3) if (k, d) != (SpatiallySeparableConv, 1)],
)


@st.composite
def layers(draw, dims):
    """(torch convolution in float64, input size): ordinary or transposed."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        arguments, size = draw(convolutions(dims))
        return PLAIN[dims](**arguments, dtype=torch.float64), size
    spec, size = draw(transposed(dims))
    conv = TRANSPOSED[dims](
        spec.in_channels, spec.out_channels, spec.kernel_size, spec.stride,
        [low for low, _ in spec.padding], spec.output_padding, spec.groups, spec.bias,
        spec.dilation, dtype=torch.float64,
    )  # fmt: skip
    return conv, size


def second_moments(conv, samples):
    values = torch.randn(conv.in_channels, conv.weight[0, 0].numel(), samples, dtype=torch.float64)
    return values @ values.mT / samples


def weight_of(layer, conv):
    """The weight that a layer without stride, padding and dilation amounts to, by probing it."""
    per_patch = conv.in_channels * conv.weight[0, 0].numel()
    probes = torch.eye(per_patch, dtype=torch.float64)
    probes = probes.reshape(per_patch, conv.in_channels, *conv.kernel_size)
    bias = 0 if conv.bias is None else conv.bias.reshape(-1, *(1 for _ in conv.kernel_size))
    with torch.no_grad():
        answers = (layer(probes) - bias).flatten(1)
    return answers.T.reshape(conv.out_channels, conv.in_channels, *conv.kernel_size)


@CASE
@examples(170, 25)  # in CI 300 of each form, over its dimensions
@given(data=st.data())
def test_full_rank_is_exact(kind, dims, data):
    conv, size = data.draw(layers(dims))
    assume(not kind.reason(conv))
    taps = conv.weight[0, 0].numel()
    samples = data.draw(st.sampled_from([None, 1, taps, 3 * taps]))
    moments = None if samples is None else second_moments(conv, samples)
    layer = kind.from_conv(conv, moments=moments)
    image = torch.randn(2, conv.in_channels, *size, dtype=torch.float64)
    with torch.no_grad():
        wanted = conv(image)
        assert layer(image).shape == wanted.shape
        assert distance(layer(image), wanted) <= 1e-9
        assert distance(layer.last(layer.body(image)), wanted) <= 1e-9


@CASE
def test_the_size_wanted_of_a_transposed_convolution(kind, dims):
    conv = TRANSPOSED[dims](3, 4, 3, stride=3, padding=1, dtype=torch.float64)
    layer = kind.from_conv(conv)
    image = torch.randn(2, 3, *(4, 5, 2)[:dims], dtype=torch.float64)
    least = conv(image).shape[2:]
    for more in (0, 1, 2):
        wanted = [n + max(0, more - axis) for axis, n in enumerate(least)]
        expected = conv(image, output_size=wanted)
        assert list(expected.shape[2:]) == wanted
        assert distance(layer(image, output_size=wanted), expected) <= 1e-12
    assert distance(layer(image[0]), conv(image[0])) <= 1e-12


def test_pointwise_first_is_the_truncated_svd_of_each_output():
    conv = nn.Conv2d(6, 4, (3, 5), groups=2, dtype=torch.float64)
    for rank in (1, 2, 3):
        near = weight_of(PointwiseFirstConv.from_conv(conv, rank), conv).detach().numpy()
        for o, output in enumerate(conv.weight.detach().numpy()):
            mine = near[o, o // 2 * 3 : o // 2 * 3 + 3]
            tail = np.linalg.svd(output.reshape(3, 15), compute_uv=False)[rank:]
            assert ((mine - output) ** 2).sum() == pytest.approx((tail**2).sum(), abs=1e-12)
            others = np.delete(near[o], range(o // 2 * 3, o // 2 * 3 + 3), axis=0)
            assert not others.any()


def test_spatial_is_the_truncated_svd_of_the_unfolded_weight():
    conv = nn.Conv2d(4, 7, (3, 5), dtype=torch.float64)
    weight = conv.weight.detach().numpy()
    # 7·3 + 4·5 costs less a map than 7·5 + 4·3: the columns come first.
    layer = SpatiallySeparableConv.from_conv(conv)
    assert (layer.first.kernel_size, layer.second.kernel_size) == ((1, 5), (3, 1))
    matrix = weight.transpose(1, 3, 0, 2).reshape(20, 21)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert layer.rank == 20
    for rank in (1, 5, 12, 19):
        near = weight_of(SpatiallySeparableConv.from_conv(conv, rank), conv).detach().numpy()
        expected = (values[rank:] ** 2).sum()
        assert ((near - weight) ** 2).sum() == pytest.approx(expected, abs=1e-12)


def test_tucker_lies_between_the_bounds_of_its_unfoldings():
    """No less than either axis alone must lose, no more than the two together (De Lathauwer)."""
    conv = nn.Conv2d(9, 8, 3, dtype=torch.float64)
    weight = conv.weight.detach().numpy()
    modes = [
        np.linalg.svd(weight.transpose(order).reshape(weight.shape[order[0]], -1))[1] ** 2
        for order in ((1, 0, 2, 3), (0, 1, 2, 3))
    ]
    for rank in ((1, 1), (3, 5), (9, 2), (4, 8), (8, 7)):
        near = weight_of(TuckerConv.from_conv(conv, rank), conv).detach().numpy()
        tails = [values[r:].sum() for values, r in zip(modes, rank)]
        lost = ((near - weight) ** 2).sum()
        assert max(tails) - 1e-12 <= lost <= sum(tails) + 1e-12
        unfolded = [np.linalg.matrix_rank(near.reshape(8, -1), tol=1e-9)]
        unfolded += [np.linalg.matrix_rank(near.transpose(1, 0, 2, 3).reshape(9, -1), tol=1e-9)]
        assert unfolded[0] <= rank[1] and unfolded[1] <= rank[0]


def test_cp_is_its_sum_of_products_and_stationary():
    """The weight is the sum of the terms, and no factor alone can make it better."""
    conv = nn.Conv2d(6, 7, (3, 2), dtype=torch.float64)
    weight = conv.weight.detach().flatten(2)
    lost = []
    for rank in (1, 4, 12, 30):
        layer = CPConv.from_conv(conv, rank)
        outputs, inputs = layer.expand.weight.flatten(1), layer.shrink.weight.flatten(1)
        kernels = layer.depthwise.weight.flatten(1)
        near = torch.zeros_like(weight)
        for term in range(rank):
            near += torch.einsum("o,i,t->oit", outputs[:, term], inputs[term], kernels[term])
        assert distance(weight_of(layer, conv).flatten(2), near) <= 1e-9
        lost.append(float((near - weight).square().sum() / weight.square().sum()))
        # By numpy: what the best outputs for these inputs and kernels would still lose.
        terms = torch.einsum("ri,rt->rit", inputs, kernels).flatten(1).T.detach().numpy()
        wanted = weight.flatten(1).T.numpy()
        solution = np.linalg.lstsq(terms, wanted, rcond=None)[0]
        best = ((terms @ solution - wanted) ** 2).sum() / (wanted**2).sum()
        assert best <= lost[-1] <= 1.1 * best + 1e-6
    assert sorted(lost, reverse=True) == lost


def test_cp_finds_terms_that_are_there():
    """A weight that is a sum of three products, whose terms no start holds."""
    found = []
    for seed in range(5):
        torch.manual_seed(seed)
        conv = nn.Conv2d(8, 9, 3, dtype=torch.float64)
        terms = (torch.randn(size, 3, dtype=torch.float64) for size in (9, 8, 9))
        with torch.no_grad():
            conv.weight.copy_(torch.einsum("or,ir,tr->oit", *terms).reshape(conv.weight.shape))
            off = weight_of(CPConv.from_conv(conv, 3), conv) - conv.weight
            found.append(float(off.square().sum() / conv.weight.square().sum()))
    # Fitting a factor at a time may end in a place that is not the best.
    assert sum(lost < 1e-6 for lost in found) >= 4


def test_cp_ranks_fill_vectors_and_cost_less():
    conv = nn.Conv2d(64, 96, 3)
    ranks = CPConv.ranks(conv)
    assert len(ranks) >= 6 and all(rank % 16 == 0 for rank in ranks)
    least, most = (
        sum(p.numel() for p in CPConv.from_conv(conv, r).parameters())
        for r in (min(ranks), max(ranks))
    )
    own = conv.weight.numel()
    assert least < own / 6 and 0.9 * own < most < 1.1 * own


def expected_error(weight, near, moments):
    """E |(W - N) x|² for channels that do not vary together."""
    off = (weight - near).flatten(2)
    return float(torch.einsum("oia,iab,oib->", off, moments, off))


@KIND
def test_moments_that_are_a_product_are_served_best(kind):
    """Where the covariance is strength times one shape there is a closed form, and this is it."""
    conv = nn.Conv2d(6, 5, 3, dtype=torch.float64)
    rows, columns = (second_moments(nn.Conv1d(1, 1, 3), 9)[0] for _ in range(2))
    strength = torch.tensor([1e-2, 3, 0.5, 40, 1, 7], dtype=torch.float64)
    moments = strength[:, None, None] * torch.kron(rows, columns)
    weight = conv.weight.detach()
    rank = (3, 3) if kind is TuckerConv else 2
    plain, informed = (
        expected_error(weight, weight_of(kind.from_conv(conv, rank, moments=m), conv), moments)
        for m in (None, moments)
    )
    assert informed < plain
    roots = [torch.from_numpy(np.linalg.cholesky(m.numpy())) for m in (rows, columns)]
    scaled = torch.einsum("oiyx,i,yr,xc->oirc", weight, strength.sqrt(), *roots)
    if kind is PointwiseFirstConv:
        tails = torch.linalg.svdvals(scaled.flatten(2))[:, rank:].square().sum()
        assert informed == pytest.approx(float(tails), rel=1e-9)
    elif kind is SpatiallySeparableConv:
        rows_first = kind.from_conv(conv).first.kernel_size == (3, 1)
        order = (1, 2, 0, 3) if rows_first else (1, 3, 0, 2)
        matrix = scaled.permute(order).reshape(18, 15)
        tails = torch.linalg.svdvals(matrix)[rank:].square().sum()
        assert informed == pytest.approx(float(tails), rel=1e-9)
    elif kind is TuckerConv:
        modes = [
            torch.linalg.svdvals(scaled.flatten(1))[rank[1] :].square().sum(),
            torch.linalg.svdvals(scaled.transpose(0, 1).flatten(1))[rank[0] :].square().sum(),
        ]
        assert float(max(modes)) - 1e-12 <= informed <= float(sum(modes)) + 1e-12
    else:
        # No closed form: a sum of so many products has at most this rank along each axis.
        axes = [scaled.flatten(2).movedim(axis, 0).flatten(1) for axis in range(3)]
        tails = [torch.linalg.svdvals(matrix)[rank:].square().sum() for matrix in axes]
        assert informed >= float(max(tails)) - 1e-12


@KIND
@pytest.mark.parametrize(
    "of", [slice(None), slice(0, 4), slice(3, None)], ids=["all", "half", "one"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_are_zero_stay_zero_and_finite_at_every_rank(kind, of, dtype):
    """As pruning leaves them: of all groups, of one of them, of all outputs but three."""
    conv = nn.Conv2d(4, 8, 3, groups=2, dtype=dtype)
    with torch.no_grad():
        conv.weight[of] = 0.0
    x = torch.randn(2, 4, 5, 5, dtype=dtype)
    for rank in kind.ranks(conv):
        for moments in (None, second_moments(conv, 20)):
            layer = kind.from_conv(conv, rank, moments=moments)
            assert all(torch.isfinite(p).all() for p in layer.parameters())
            if of == slice(None):
                torch.testing.assert_close(layer(x), conv(x))
            assert torch.isfinite(layer(x)).all()


@KIND
def test_a_channel_that_was_always_zero_stays_finite_and_exact(kind):
    conv = nn.Conv2d(4, 5, 3, dtype=torch.float64)
    moments = second_moments(conv, 20)
    moments[2] = 0
    for given_moments in (moments, torch.zeros_like(moments)):
        layer = kind.from_conv(conv, moments=given_moments)
        assert distance(weight_of(layer, conv), conv.weight) <= 1e-9
        small = kind.from_conv(conv, (1, 1) if kind is TuckerConv else 1, moments=given_moments)
        assert all(bool(torch.isfinite(p).all()) for p in small.parameters())


@KIND
@given(data=st.data())
def test_the_constructor_makes_the_same_shapes(kind, data):
    conv, size = data.draw(layers(data.draw(st.sampled_from([2, 2, 3]))))
    assume(not kind.reason(conv))
    full = kind.full_rank(conv)
    rank = tuple(data.draw(st.integers(1, r)) for r in (full if kind is TuckerConv else (full,)))
    rank = rank if kind is TuckerConv else rank[0]
    made = kind.from_conv(conv, rank)
    arguments = {
        name: getattr(conv, name)
        for name in (
            "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
            "groups", "padding_mode", "output_padding", "transposed",
        )
    }  # fmt: skip
    bias = conv.bias is not None
    built = kind(**arguments, rank=rank, bias=bias, dtype=torch.float64)
    assert repr(built) == repr(made)
    built.load_state_dict(made.state_dict())
    image = torch.randn(1, conv.in_channels, *size, dtype=torch.float64)
    assert torch.equal(built(image), made(image))
    shapes = [tuple(p.shape) for p in kind.parts(conv, rank, bias=bias)[-1].parameters()]
    assert shapes == [tuple(p.shape) for p in made.last.parameters()]


@KIND
def test_what_the_convolution_was_the_layer_is(kind):
    conv = nn.Conv2d(4, 6, 3, padding=1).half().eval()
    conv.weight.requires_grad_(False)
    state, random = copy.deepcopy(conv.state_dict()), torch.random.get_rng_state()
    layer = kind.from_conv(conv, (2, 3) if kind is TuckerConv else 2)
    assert isinstance(layer, Factored)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(conv.state_dict()[name], value) for name, value in state.items())
    assert {p.dtype for p in layer.parameters()} == {torch.float16}
    assert not layer.training
    assert [p.requires_grad for p in layer.parameters()] == [
        name.endswith("bias") for name, _ in layer.named_parameters()
    ]
    assert layer.last.bias.data_ptr() != conv.bias.data_ptr()
    assert [name for name, _ in layer.named_parameters() if name.endswith("bias")] == [
        f"{kind._names[-1]}.bias"
    ]


@KIND
def test_new_weights_are_drawn_when_asked(kind):
    layer = kind(4, 6, (3, 3), rank=(2, 3) if kind is TuckerConv else 2)
    before = [p.clone() for p in layer.parameters()]
    layer.reset_parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, layer.parameters()))


def test_the_stride_comes_first_where_that_saves():
    for stride, first in (((2, 1), (3, 1)), ((1, 2), (1, 3))):
        layer = SpatiallySeparableConv.from_conv(nn.Conv2d(8, 8, 3, stride))
        assert layer.first.kernel_size == first
        # A transposed convolution grows the map last.
        layer = SpatiallySeparableConv.from_conv(nn.ConvTranspose2d(8, 8, 3, stride))
        assert layer.second.kernel_size == first


class Standardised(nn.Conv2d):
    def forward(self, input):
        return super().forward(input) * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointwiseFirstConv(3, 4, (3, 3), rank=4), "rank must be from 1 to 3, not 4"),
        (lambda: PointwiseFirstConv(3, 4, (3, 3), rank=0), "rank must be from 1 to 3, not 0"),
        (lambda: PointwiseFirstConv(3, 4, (3, 3), rank=True), "rank must be .*, not True"),
        (lambda: TuckerConv(3, 4, (3, 3), rank=2), r"rank must be from 1 to \(3, 4\), not 2"),
        (lambda: TuckerConv(3, 4, (3, 3), rank=(2, 5)), r"1 to \(3, 4\), not \(2, 5\)"),
        (lambda: TuckerConv(8, 8, 3, rank=(2, 2), groups=8), "one channel in or out"),
        (lambda: SpatiallySeparableConv(3, 4, (3, 1), rank=1), "of 3×1 has no two axes"),
        (lambda: SpatiallySeparableConv(3, 4, (5,), rank=1), "of 5 has no two axes"),
        (lambda: SpatiallySeparableConv(4, 4, 3, rank=1, groups=4), "depthwise already"),
        (lambda: PointwiseFirstConv(4, 4, 3, rank=1, groups=4), "nothing to mix first"),
        (lambda: PointwiseFirstConv(4, 4, 1, rank=1), "pointwise already"),
        (lambda: TuckerConv(4, 6, 3, rank=(1, 1), groups=3), "groups must divide in_channels"),
        (lambda: TuckerConv(4, 6, 3, (1, 1), padding="smae"), "did you mean 'same'"),
        (lambda: TuckerConv(4, 6, 3, (1, 1), padding=((1, 2), 1)), "padding must be an int"),
        (
            lambda: TuckerConv(4, 6, 3, (1, 1), padding_mode="reflect", transposed=True),
            "padding_mode must be 'zeros'",
        ),
        (lambda: TuckerConv.from_conv(nn.Linear(3, 4)), "conv must be .*, not Linear"),
        (lambda: TuckerConv.from_conv(Standardised(3, 4, 3)), r"overrides its forward\(\)"),
        (lambda: TuckerConv.from_conv(nn.LazyConv2d(4, 3)), "run this LazyConv2d once"),
        (lambda: TuckerConv.from_conv(nn.Conv2d(3, 4, 3, device="meta")), "'meta' and has no"),
        (
            lambda: TuckerConv.from_conv(nn.Conv2d(3, 4, 3), moments=torch.ones(3, 4, 4)),
            r"moments of shape \(3, 4, 4\) must be .* \(3, 9, 9\)",
        ),
        (
            lambda: TuckerConv.from_conv(
                nn.Conv2d(3, 4, 3), moments=torch.full((3, 9, 9), torch.nan)
            ),
            "moments must be finite",
        ),
    ],
)
def test_refused_in_one_line(make, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_weight_that_is_not_finite_is_refused():
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] = torch.inf
    for kind in KINDS:
        with pytest.raises(ArgumentError, match="NaN or infinity"):
            kind.from_conv(conv)
