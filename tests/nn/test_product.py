"""What a chain of convolutions amounts to, against the chain itself run on unit patches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from convsmith.nn.composed import ComposedConv, grouped
from convsmith.nn.factored import form_names, layers_of
from convsmith.nn.product import body_product, chain_product
from tests.nn.layers import distance
from tests.nn.test_forms import layers

KINDS = [k for form in form_names() for k in layers_of(form) if issubclass(k, ComposedConv)]


def rank_of(data, full):
    if isinstance(full, tuple):
        return tuple(data.draw(st.integers(1, most)) for most in full)
    return data.draw(st.integers(1, full))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_chain_is_one_convolution(kind, data):
    conv, size = data.draw(layers(data.draw(st.integers(1, 3))))
    assume(not kind.reason(conv))
    rank = rank_of(data, kind.full_rank(conv))
    layer = kind.from_conv(conv, rank)
    factors = [grouped(getattr(layer, name)) for name in kind._names]
    inputs = conv.in_channels // conv.groups
    weight = chain_product(conv.groups, inputs, factors)
    image = torch.randn(2, conv.in_channels, *size, dtype=torch.float64)
    with torch.no_grad():
        wanted = layer(image)
        flat = weight.transpose(1, 2) if conv.transposed else weight
        conv.weight.copy_(flat.reshape(conv.weight.shape))
        assert distance(conv(image), wanted) <= 1e-9
    (told,) = kind.products(conv, [kind.full_rank(conv)], None)
    assert distance(told, weight) <= 1e-9
    body = body_product(conv.groups, inputs, factors)
    assert distance((factors[-1].flatten(2) @ body).reshape(weight.shape), weight) <= 1e-9


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_product_that_is_told_is_that_of_the_weights(kind, data):
    conv, _ = data.draw(layers(data.draw(st.integers(1, 3))))
    assume(not kind.reason(conv))
    ranks = [rank_of(data, kind.full_rank(conv)) for _ in range(3)]
    for rank, told in zip(ranks, kind.products(conv, ranks, None)):
        layer = kind.from_conv(conv, rank)
        factors = [grouped(getattr(layer, name)) for name in kind._names]
        weight = chain_product(conv.groups, conv.in_channels // conv.groups, factors)
        assert distance(weight, told) <= 1e-9
