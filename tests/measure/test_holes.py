"""Gridding counted, explained and repaired."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure.holes import gridding, hdc, holes

rates = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def read(rates, kernel):
    """Positions that sums of taps reach, by trying them all."""
    taps = product(*[[rate * tap for tap in range(kernel)] for rate in rates])
    return {sum(choice) for choice in taps}


@given(rates, st.integers(2, 5))
def test_gridding_counts_and_repairs(rates, kernel):
    found = gridding(rates, kernel)
    seen = read(rates, kernel)
    assert (found.width, found.covered) == (max(seen) + 1, len(seen))
    assert found.coverage == pytest.approx((len(seen) / found.width) ** 2)
    gaps = [b - a - 1 for a, b in zip(sorted(seen), sorted(seen)[1:])]
    assert found.largest_gap == max(gaps)
    if not found.largest_gap:
        assert found.repair is None
        return
    total = sum(rates)
    whole = [
        candidate for candidate in product(range(1, total + 1), repeat=len(rates))
        if sum(candidate) == total and len(read(candidate, kernel)) == found.width
    ]  # fmt: skip
    change = lambda candidate: sum(abs(a - b) for a, b in zip(candidate, rates))  # noqa: E731
    if found.repair is None:
        assert not whole
    else:
        assert found.repair in whole and change(found.repair) == min(map(change, whole))


def test_the_rule_of_hdc_beside_the_count():
    passes = {
        (1, 2, 5): True,
        (1, 2, 9): False,
        (2, 2, 2): False,
        (1, 2, 4, 8): True,
        (2, 4, 8): False,
    }
    assert {given: hdc(given) for given in passes} == passes
    assert hdc((1,)) and not hdc((2,))
    # The rule is no proof: where it passes, the count still decides.
    assert gridding((1, 2, 5)).largest_gap == 0


def test_rates_that_are_none_are_refused():
    with pytest.raises(ArgumentError, match="at least one rate"):
        gridding([])
    with pytest.raises(ArgumentError, match="rate must be an integer of at least 1"):
        gridding([1, 0])


class Dilated(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=rate, dilation=rate)
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        return self.act(x + self.norm(self.conv(x)))


def test_holes_name_their_layers_and_the_repair():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), *[Dilated(2) for _ in range(3)])
    report = cs.inspect(model, (1, 3, 64, 64))
    found = report.holes()
    assert {name for name, _ in found.causes} == {"1.conv", "2.conv", "3.conv"}
    ((names, series),) = found.series
    assert names == ("1.conv", "2.conv", "3.conv")
    assert series.rates == (2, 2, 2) and series.repair == (1, 2, 3)
    text = str(found.series_table())
    assert "1.conv → 2.conv → 3.conv" in text and "1, 2, 3" in text and "29.0 %" in text
    assert "2.conv" in str(found.table())


def test_no_holes_are_called_none():
    found = cs.inspect(nn.Conv2d(1, 1, 3), (1, 1, 9, 9)).holes()
    assert found.causes == () and repr(found) == "Holes('conv2d': none)"
    assert "No holes." in str(found.table())


def test_the_network_is_only_asked():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=3), nn.Conv2d(1, 1, 3, dilation=3))
    net = cs.trace(model, (1, 1, 32, 32))
    before = [layer.operation.arithmetic for layer in net]
    found = holes(net, "1")
    assert [layer.operation.arithmetic for layer in net] == before
    assert found.to_dict()["causes"][0]["coverage"] > found.field.coverage


def test_what_has_no_map_has_no_holes():
    with pytest.raises(ArgumentError, match="no map"):
        cs.inspect(nn.Linear(3, 4), (1, 3)).holes()


@pytest.mark.parametrize(("size", "share"), [(65, 0.398), (33, 0.111)])
def test_multiply_adds_on_padding(size, share):
    with torch.device("meta"):
        conv = nn.Conv2d(2, 2, 3, padding=36, dilation=36)
        report = cs.inspect(conv, (2, 2, size, size))
    assert 1 - report.padding_macs / report.macs == pytest.approx(share, abs=5e-4)
    assert "of the MACs fall on padding" in str(report)
    assert report.layers[-1].intensity == report.layers[-1].flops / report.layers[-1].bytes


def test_the_series_of_branches_are_each_told_and_plain_ones_are_not():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            c = lambda d: nn.Conv2d(1, 1, 3, padding=d, dilation=d)  # noqa: E731
            self.a, self.b, self.c, self.d, self.e = c(1), c(2), c(4), c(1), c(1)
            self.wide = nn.Conv2d(1, 1, 5, padding=4, dilation=2)

        def forward(self, x):
            x = self.a(x)
            left, right = self.c(self.b(x).relu()), self.e(self.d(x))
            return self.wide(left + right)

    found = cs.inspect(Fork(), (1, 1, 40, 40)).holes()
    # a → d → e has no dilation, and the 5×5 begins a series of its own, of one.
    assert [(names, series.rates) for names, series in found.series] == [
        (("a", "b", "c"), (1, 2, 4))
    ]


def test_each_cause_is_the_field_of_a_network_without_that_dilation():
    class Net(nn.Module):
        def __init__(self, rates):
            super().__init__()
            self.stem = nn.Conv2d(1, 2, 3, 2, 1)
            self.body = nn.ModuleList(nn.Conv2d(2, 2, 3, dilation=d) for d in rates)
            self.up = nn.ConvTranspose2d(2, 1, 2, 2)

        def forward(self, x):
            x = self.stem(x)
            a = self.body[1](self.body[0](x))
            b = self.body[2](x)
            return self.up(torch.cat([a[..., :9, :9], b[..., :9, :9]], 1)[:, :2])

    rates = (2, 3, 5)
    found = dict(cs.inspect(Net(rates), (1, 1, 64, 64)).holes().causes)
    for place in range(3):
        dense = [1 if i == place else d for i, d in enumerate(rates)]
        field = cs.inspect(Net(dense), (1, 1, 64, 64)).local_receptive_field
        name = f"body.{place}"
        if name in found:
            assert found[name] == pytest.approx(field.coverage)
    assert {"body.0", "body.1"} <= set(found)
