"""Separable layers equal what they are made of, and stand where a standard convolution stood."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.nn import (
    DepthwiseSeparableConv1d,
    DepthwiseSeparableConv2d,
    DepthwiseSeparableConvTranspose2d,
    separable_factors,
    separable_rank,
)
from tests.nn.layers import PAIRS, PLAIN, SEPARABLE, convolutions, distance, product, transposed

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
multipliers = st.integers(1, 3)


def parameters(layer):
    return sum(parameter.numel() for parameter in layer.parameters())


def maps(size, channels, dtype=torch.float64):
    return torch.randn(2, channels, *size, dtype=dtype)


# The lesson's own figures.


def test_the_exercise():
    layer = DepthwiseSeparableConv2d(3, 10, 3)
    assert layer(torch.rand(1, 3, 128, 128)).shape == (1, 10, 126, 126)


def test_three_channels_become_four():
    assert DepthwiseSeparableConv2d(3, 4, 3)(torch.rand(3, 5, 5)).shape == (4, 3, 3)


def test_the_parameters_of_the_table():
    layer = DepthwiseSeparableConv2d(3, 30, 10)
    assert parameters(layer) == 423
    assert parameters(layer.depthwise) == 303
    assert parameters(layer.pointwise) == 120
    assert parameters(nn.Conv2d(3, 30, 10)) == 9030


@pytest.mark.parametrize("bias", [False, True])
def test_the_cost_ratio_is_one_over_outputs_plus_one_over_taps(bias):
    light = DepthwiseSeparableConv2d(64, 128, 3, bias=bias)
    weights = sum(p.numel() for p in light.parameters() if p.dim() > 1)
    assert weights * 128 * 9 == 64 * 128 * 9 * (9 + 128)
    assert (light.depthwise.bias is not None) == bias
    assert (light.pointwise.bias is not None) == bias


# The same arguments as torch's layers.


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_signature_starts_as_in_torch(ours, theirs):
    own = list(inspect.signature(ours).parameters.values())
    plain = list(inspect.signature(theirs).parameters.values())
    extra = own[len(plain) :]
    assert [(p.name, p.default, p.kind) for p in own[: len(plain)]] == [
        (p.name, p.default, p.kind) for p in plain
    ]
    assert all(p.kind is p.KEYWORD_ONLY for p in extra)
    assert [p.name for p in extra] == [
        "multiplier",
        "norm",
        "activation",
        "mid_norm",
        "mid_activation",
    ]


@DIMS
@given(st.data())
def test_attributes_and_output_size_are_those_of_the_convolution(dims, data):
    arguments, size = data.draw(convolutions(dims))
    layer, plain = SEPARABLE[dims](**arguments), PLAIN[dims](**arguments)
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
    for name in (*names, "groups", "padding_mode"):
        assert getattr(layer, name) == getattr(plain, name)
    image = maps(size, arguments["in_channels"], torch.float32)
    assert layer(image).shape == plain(image).shape


@DIMS
@given(st.data(), multipliers)
def test_output_equals_a_pair_composed_by_hand(dims, data, multiplier):
    arguments, size = data.draw(convolutions(dims))
    inputs, middle = arguments["in_channels"], arguments["in_channels"] * multiplier
    layer = SEPARABLE[dims](**arguments, multiplier=multiplier)
    spread = PLAIN[dims](**{**arguments, "out_channels": middle, "groups": inputs})
    mix = PLAIN[dims](
        middle, arguments["out_channels"], 1, groups=arguments["groups"], bias=arguments["bias"]
    )
    spread.load_state_dict(layer.depthwise.state_dict())
    mix.load_state_dict(layer.pointwise.state_dict())
    image = maps(size, inputs, torch.float32)
    assert torch.equal(layer(image), mix(spread(image)))


@DIMS
@given(st.data(), multipliers)
def test_output_equals_one_convolution_with_the_product_of_both_weights(dims, data, multiplier):
    """So groups mix exactly the channels that they mix in nn.Conv*d."""
    arguments, size = data.draw(convolutions(dims))
    layer = SEPARABLE[dims](**{**arguments, "bias": False}, multiplier=multiplier).double()
    plain = PLAIN[dims](**{**arguments, "bias": False}).double()
    weights = layer.depthwise.weight, layer.pointwise.weight
    plain.weight.data = product(*weights, arguments["groups"], multiplier)
    image = maps(size, arguments["in_channels"])
    assert distance(layer(image), plain(image)) <= 1e-12


@given(transposed(), multipliers)
def test_transposed_output_equals_a_pair_composed_by_hand(case, multiplier):
    arguments, size = case
    inputs, middle = arguments["in_channels"], arguments["in_channels"] * multiplier
    layer = DepthwiseSeparableConvTranspose2d(**arguments, multiplier=multiplier)
    spread = nn.ConvTranspose2d(**{**arguments, "out_channels": middle, "groups": inputs})
    mix = nn.Conv2d(
        middle, arguments["out_channels"], 1, groups=arguments["groups"], bias=arguments["bias"]
    )
    spread.load_state_dict(layer.depthwise.state_dict())
    mix.load_state_dict(layer.pointwise.state_dict())
    plain = nn.ConvTranspose2d(**arguments)
    for name in ("kernel_size", "stride", "padding", "output_padding", "groups", "dilation"):
        assert getattr(layer, name) == getattr(plain, name)
    image = maps(size, inputs, torch.float32)
    assert layer(image).shape == plain(image).shape
    assert torch.equal(layer(image), mix(spread(image)))


@given(transposed(), multipliers)
def test_transposed_output_equals_one_with_the_product_of_both_weights(case, multiplier):
    arguments, size = case
    arguments = {**arguments, "bias": False}
    layer = DepthwiseSeparableConvTranspose2d(**arguments, multiplier=multiplier).double()
    plain = nn.ConvTranspose2d(**arguments).double()
    weights = layer.depthwise.weight, layer.pointwise.weight
    plain.weight.data = product(*weights, arguments["groups"], multiplier, transposed=True)
    image = maps(size, arguments["in_channels"])
    assert distance(layer(image), plain(image)) <= 1e-12


@pytest.mark.parametrize("wanted", [(13, 9), (14, 10), (13, 10), (2, 5, 14, 9)])
def test_the_output_size_of_a_transposed_layer_can_be_chosen(wanted):
    layer = DepthwiseSeparableConvTranspose2d(3, 5, 3, stride=2, padding=1)
    image = torch.randn(2, 3, 7, 5)
    output = layer(image, output_size=wanted)
    assert output.shape == (2, 5, *wanted[-2:])
    rows, columns = (length - 1 for length in layer(image).shape[-2:])
    assert torch.equal(output[..., :rows, :columns], layer(image)[..., :rows, :columns])


# What stands behind either convolution.


def test_norms_and_activations_are_applied_in_order():
    layer = DepthwiseSeparableConv2d(
        4,
        6,
        3,
        multiplier=2,
        norm=nn.BatchNorm2d,
        activation=nn.Sigmoid,
        mid_norm=lambda channels: nn.GroupNorm(4, channels),
        mid_activation=nn.ReLU,
    )
    order = [name for name, _ in layer.named_children()]
    assert order == ["depthwise", "mid_norm", "mid_activation", "pointwise", "norm", "activation"]
    assert layer.mid_norm.num_channels == 8
    assert layer.norm.num_features == 6
    nn.init.uniform_(layer.mid_norm.weight)
    nn.init.uniform_(layer.norm.bias)
    image = torch.randn(2, 4, 7, 9)
    maps = F.relu(layer.mid_norm(layer.depthwise(image)))
    pair = F.batch_norm(
        layer.pointwise(maps), None, None, layer.norm.weight, layer.norm.bias, training=True
    )
    assert torch.allclose(layer(image), torch.sigmoid(pair), atol=1e-6)


@pytest.mark.parametrize("name", ["norm", "activation", "mid_norm", "mid_activation"])
def test_each_of_the_four_is_optional_and_alone(name):
    factory = nn.BatchNorm2d if "norm" in name else nn.ReLU
    layer = DepthwiseSeparableConv2d(2, 3, 3, **{name: factory})
    children = dict(layer.named_children())
    assert set(children) == {"depthwise", "pointwise", name}
    bare = DepthwiseSeparableConv2d(2, 3, 3)
    assert getattr(bare, name) is None
    bare.load_state_dict({k: v for k, v in layer.state_dict().items() if not k.startswith(name)})
    image = torch.randn(4, 2, 5, 5)
    assert not torch.equal(layer(image), bare(image))


def test_a_transposed_layer_has_them_too():
    layer = DepthwiseSeparableConvTranspose2d(
        2, 3, 2, 2, norm=nn.BatchNorm2d, mid_activation=nn.ReLU
    )
    image = torch.randn(4, 2, 5, 5)
    by_hand = layer.norm.eval()(layer.pointwise(layer.depthwise(image).relu()))
    assert torch.equal(layer(image), by_hand)


def test_what_is_absent_leaves_no_trace_in_the_state():
    keys = list(DepthwiseSeparableConv2d(3, 4, 3).state_dict())
    assert keys == ["depthwise.weight", "depthwise.bias", "pointwise.weight", "pointwise.bias"]
    keys = list(DepthwiseSeparableConv2d(3, 4, 3, bias=False).state_dict())
    assert keys == ["depthwise.weight", "pointwise.weight"]


def test_a_norm_can_be_added_later():
    layer = DepthwiseSeparableConv2d(3, 4, 3)
    layer.norm = nn.BatchNorm2d(4)
    assert "norm.weight" in layer.state_dict()
    layer(torch.randn(2, 3, 5, 5))
    assert layer.norm.num_batches_tracked == 1


def test_factories_follow_device_and_dtype():
    layer = DepthwiseSeparableConv2d(
        3, 4, 3, device="meta", dtype=torch.float64, norm=nn.BatchNorm2d, mid_activation=nn.PReLU
    )
    tensors = [*layer.parameters(), layer.norm.running_mean]
    assert {t.device.type for t in tensors} == {"meta"}
    assert {t.dtype for t in tensors} == {torch.float64}


def test_reset_parameters_starts_anew():
    layer = DepthwiseSeparableConv2d(3, 4, 3, norm=nn.BatchNorm2d, activation=nn.ReLU)
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(2, 3, 5, 5))
    layer.reset_parameters()
    after = layer.state_dict()
    for key in ("depthwise.weight", "depthwise.bias", "pointwise.weight", "pointwise.bias"):
        assert not torch.equal(before[key], after[key])
    assert torch.equal(after["norm.running_mean"], torch.zeros(4))


# How it prints.


def test_the_representation_shows_what_is_not_ordinary():
    layer = DepthwiseSeparableConv2d(6, 4, 3)
    assert layer.extra_repr() == "6, 4, kernel_size=(3, 3), stride=(1, 1)"
    layer = DepthwiseSeparableConv2d(
        6, 4, (3, 1), (1, 2), (1, 0), (2, 1), 2, padding_mode="reflect", multiplier=3
    )
    assert layer.extra_repr() == (
        "6, 4, kernel_size=(3, 1), stride=(1, 2), padding=(1, 0), dilation=(2, 1), groups=2, "
        "multiplier=3, padding_mode=reflect"
    )
    layer = DepthwiseSeparableConv1d(6, 4, 3, padding="same")
    assert layer.extra_repr() == "6, 4, kernel_size=(3,), stride=(1,), padding=same"
    layer = DepthwiseSeparableConvTranspose2d(6, 4, 3, 2, output_padding=1)
    assert layer.extra_repr() == "6, 4, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1)"
    assert repr(layer).splitlines()[0] == "DepthwiseSeparableConvTranspose2d("
    assert "None" not in repr(layer)


# From a trained convolution.


@DIMS
@given(st.data(), st.booleans())
def test_full_rank_from_a_convolution_equals_it(dims, data, informed):
    arguments, size = data.draw(convolutions(dims))
    conv = PLAIN[dims](**arguments, dtype=torch.float64)
    rank = separable_rank(conv.weight, conv.groups)
    moments = None
    if informed:
        taps = conv.weight[0, 0].numel()
        samples = torch.randn(conv.in_channels, taps, max(1, taps // 2), dtype=torch.float64)
        moments = samples @ samples.mT
    layer = SEPARABLE[dims].from_conv(conv, rank, moments=moments)
    image = maps(size, conv.in_channels)
    assert layer.multiplier == rank
    assert layer.depthwise.bias is None
    assert distance(layer(image), conv(image)) <= 1e-12


@given(transposed(), st.booleans())
def test_full_rank_from_a_transposed_convolution_equals_it(case, sized):
    arguments, size = case
    conv = nn.ConvTranspose2d(**arguments, dtype=torch.float64)
    rank = separable_rank(conv.weight, conv.groups, transposed=True)
    layer = DepthwiseSeparableConvTranspose2d.from_conv(conv, rank)
    image = maps(size, conv.in_channels)
    expected = conv(image)
    output = layer(image)
    assert layer.output_padding == conv.output_padding
    assert distance(output, expected) <= 1e-12
    if sized and all(e < s for e, s in zip(conv.output_padding, conv.stride, strict=True)):
        shape = list(expected.shape[-2:])
        assert distance(layer(image, shape), conv(image, shape)) <= 1e-12


@DIMS
def test_rank_one_from_a_convolution_is_the_layer_of_that_shape(dims):
    conv = PLAIN[dims](6, 9, 3, stride=2, padding=1, dilation=2, groups=3)
    made, built = SEPARABLE[dims].from_conv(conv), SEPARABLE[dims](6, 9, 3, 2, 1, 2, 3)
    assert made.extra_repr() == built.extra_repr()
    assert set(made.state_dict()) == set(built.state_dict()) - {"depthwise.bias"}
    image = maps((9, 8, 7)[:dims], 6, torch.float32)
    assert made(image).shape == built(image).shape


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_from_conv_keeps_flags_and_touches_nothing(ours, theirs):
    conv = theirs(4, 6, 3).to(torch.bfloat16).eval()
    conv.weight.requires_grad_(False)
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    random = torch.get_rng_state()
    layer = ours.from_conv(conv, 2, activation=nn.ReLU)
    assert torch.equal(torch.get_rng_state(), random)
    assert type(layer) is ours
    assert not layer.training
    assert not layer.activation.training
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}
    assert {p.device.type for p in layer.parameters()} == {"cpu"}
    assert not layer.depthwise.weight.requires_grad
    assert not layer.pointwise.weight.requires_grad
    assert layer.pointwise.bias.requires_grad
    assert torch.equal(layer.pointwise.bias, conv.bias)
    layer.pointwise.bias.data.zero_()
    assert all(torch.equal(value, before[key]) for key, value in conv.state_dict().items())
    assert ours.from_conv(conv.train()).training


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_from_conv_heeds_moments(ours, theirs):
    conv = theirs(4, 6, 3, groups=2, dtype=torch.float64)
    taps = conv.weight[0, 0].numel()
    samples = torch.randn(4, taps, taps, dtype=torch.float64)
    moments = samples @ samples.mT
    informed, plain = ours.from_conv(conv, 2, moments=moments), ours.from_conv(conv, 2)
    factors = separable_factors(conv.weight, 2, 2, moments, conv.transposed)
    assert torch.equal(informed.depthwise.weight, factors[0])
    assert torch.equal(informed.pointwise.weight, factors[1])
    assert not torch.allclose(informed.depthwise.weight, plain.depthwise.weight, atol=1e-2)


def test_from_conv_adds_what_is_asked_for():
    conv = nn.Conv2d(4, 6, 3, bias=False, dtype=torch.float64)
    layer = DepthwiseSeparableConv2d.from_conv(
        conv, 2, norm=nn.BatchNorm2d, mid_norm=nn.BatchNorm2d, mid_activation=nn.ReLU
    )
    order = [name for name, _ in layer.named_children()]
    assert order == ["depthwise", "mid_norm", "mid_activation", "pointwise", "norm"]
    assert layer.mid_norm.num_features == 8
    assert layer.norm.weight.dtype == torch.float64
    assert layer.pointwise.bias is None


def test_a_convolution_with_a_parametrised_weight_is_taken_as_it_stands():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 5, 3, dtype=torch.float64))
    layer = DepthwiseSeparableConv2d.from_conv(conv, 5)
    image = maps((7, 6), 3)
    assert distance(layer(image), conv(image)) <= 1e-12


def test_a_lazy_convolution_can_be_taken_once_it_has_run():
    conv = nn.LazyConv2d(5, 3)
    image = torch.randn(1, 3, 7, 6)
    conv(image)
    layer = DepthwiseSeparableConv2d.from_conv(conv, 5)
    assert distance(layer(image), conv(image)) <= 1e-5


# Training.


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_gradients_are_right(ours, theirs):
    dims = 2 if theirs is nn.ConvTranspose2d else ours.dimensions
    layer = ours(2, 4, 2, padding=1, dilation=2, groups=2, dtype=torch.float64, multiplier=2)
    image = torch.randn(1, 2, *(4, 3, 3)[:dims], dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(image, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), image)

    assert torch.autograd.gradcheck(run, (image, *layer.parameters()))


def test_a_taken_over_layer_trains_in_all_its_parts():
    conv = nn.Conv2d(3, 5, 3)
    layer = DepthwiseSeparableConv2d.from_conv(conv, 2, norm=nn.BatchNorm2d)
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert layer.depthwise.weight.grad.abs().min() > 0
    assert layer.pointwise.weight.grad.abs().min() > 0
    assert conv.weight.grad is None
