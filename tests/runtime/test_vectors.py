"""Linear layers: blocks for (N, C) tensors, shared among threads by channels."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.kernels.isa import ISAS, choose_isa
from tests.runtime.agreement import agree
from tests.thoroughness import examples

ABLE = []
for name in ISAS:
    try:
        choose_isa(name)
        ABLE.append(name)
    except ArgumentError:
        pass

SIZES = st.one_of(st.integers(1, 600), st.sampled_from([47, 48, 49, 97, 128, 509, 1000]))


@pytest.mark.parametrize("isa", ABLE)
@examples(100, 20)
@given(
    sizes=st.lists(SIZES, min_size=2, max_size=4),
    vectors=st.one_of(st.integers(1, 20), st.just(1)),
    bias=st.booleans(),
    norm=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_chain(isa, sizes, vectors, bias, norm, threads, seed):
    torch.manual_seed(seed)
    # One large layer, so that the chain is worth a region.
    layers = [nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, sizes[0], bias)]
    for m, n in pairwise(sizes):
        layers += [nn.BatchNorm1d(m)] if norm else []
        layers += [nn.Hardswish(), nn.Dropout(), nn.Linear(m, n, bias)]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.bias)
    agree(net, torch.randn(vectors, 400), isa, threads)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 200, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(200, 600), nn.ReLU(), nn.Dropout(), nn.Linear(600, 7),
    ).eval()  # fmt: skip


def test_the_end_of_a_classifier_is_a_region_of_its_own():
    net = classifier()
    fast = cs.compile(net, (1, 3, 17, 13), threads=1)
    assert len(fast.regions) == 2
    assert fast.reasons == {"3": "2-dimensional"}
    image = torch.randn(5, 3, 17, 13)
    found, expected = fast(image), net(image)
    assert found.is_contiguous() and torch.allclose(found, expected, atol=1e-5)
    assert {block.name for block in fast.profile(rounds=1).blocks} >= {"4", "7"}


def test_the_bits_depend_on_neither_threads_nor_the_batch():
    net = nn.Sequential(nn.Linear(700, 500), nn.GELU(), nn.Linear(500, 333)).eval()
    x = torch.randn(13, 700)
    every = [cs.compile(net, (1, 700), threads=threads) for threads in (1, 2, 5)]
    whole = every[0](x)
    for fast in every:
        assert torch.equal(fast(x), whole)
        assert torch.equal(torch.cat([fast(x[i : i + 4]) for i in range(0, 13, 4)]), whole)


@pytest.mark.parametrize("isa", ABLE)
def test_long_sums(isa):
    torch.manual_seed(0)
    agree(nn.Sequential(nn.Linear(9216, 96)), torch.rand(3, 9216), isa, 2)


def test_none_and_strided_and_few():
    net = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 5)).eval()
    fast = cs.compile(net, (2, 400))
    assert fast(torch.empty(0, 400)).shape == (0, 5)
    x = torch.randn(400, 6).t()
    assert torch.allclose(fast(x), net(x), atol=1e-5)
    few = cs.compile(nn.Sequential(nn.Linear(40, 30)).eval(), (2, 40))
    assert not few.regions and few.reasons["0"] == "too few weights"
    with pytest.raises(ArgumentError, match="does not take"):
        fast(torch.randn(2, 401))


def test_other_dimensions_stay_in_torch():
    net = nn.Sequential(nn.Linear(400, 300), nn.ReLU()).eval()
    x = torch.randn(2, 5, 400)
    fast = cs.compile(net, x)
    assert not fast.regions and torch.equal(fast(x), net(x))
