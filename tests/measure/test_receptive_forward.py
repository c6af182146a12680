"""The fields of all layers in one pass, each against a backward walk of its own."""

from __future__ import annotations

import random
from itertools import combinations, product
from operator import ne

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.arithmetic import Positions
from convsmith.measure import fields as module
from convsmith.measure.receptive import local_field
from convsmith.network.views import Term, fewest, union
from tests import fields, networks, probe
from tests.thoroughness import thinned

SIZES = {1: (5, 29), 2: (4, 13), 3: (3, 7)}


@pytest.mark.parametrize(
    "build", thinned([networks.mobilenet_v2, networks.resnet50, networks.vgg16])
)
def test_published_networks(build):
    with torch.device("meta"):
        net = cs.trace(build(), (1, 3, 64, 64))
    assert fields.left_out(net) == []
    assert fields.unlike(net, every=5) == []


@pytest.mark.parametrize(("dims", "seed"), thinned((d, s) for d in (1, 2, 3) for s in range(20)))
def test_random_networks(dims, seed):
    rng = random.Random(7000 + 100 * dims + seed)
    for _ in range(2):
        size = tuple(rng.randint(*SIZES[dims]) for _ in range(dims))
        net = cs.trace(probe.network(rng, dims, size), (1, 2, *size))
        assert fields.unlike(net) == []


positions = st.frozensets(st.integers(-9, 9), max_size=6)


@given(st.lists(positions, min_size=1, max_size=4), positions, st.integers(0, 5))
def test_a_union_is_that_of_the_entries_a_period_apart(table, asked, moved):
    found = union(tuple(map(Positions.of, table)), Positions.of(asked), moved)
    assert set(found) == {p + i // len(table) * moved for i in asked for p in table[i % len(table)]}


channels = st.frozensets(st.integers(0, 3), min_size=1)
entries = st.tuples(positions, positions)


@given(st.lists(st.tuples(channels, entries, entries), max_size=7))
def test_the_fewest_terms_say_the_same(drawn):
    terms = [
        Term(Positions.of(c), tuple(tuple(map(Positions.of, table)) for table in tables))
        for c, *tables in drawn
    ]

    def points(terms):
        return {
            (c, i, j, p, q)
            for term in terms
            for i, j in product(range(2), repeat=2)
            for c, p, q in product(term.channels, term.tables[0][i], term.tables[1][j])
        }

    found = fewest(terms)
    assert points(found) == points(terms) and len(found) <= len(terms)
    for one, other in combinations(found, 2):
        assert (one.channels != other.channels) + sum(map(ne, one.tables, other.tables)) > 1


HARD = {
    "hrnet": (fields.Exchange, (1, 3, 96, 64)),
    "unet": (fields.Unet, (1, 1, 32, 24)),
    "unet wide": (lambda: fields.Unet("wide"), (2, 1, 32, 24)),
    "unet nearest": (lambda: fields.Unet("nearest"), (1, 1, 32, 24)),
    "unet bilinear": (lambda: fields.Unet("bilinear"), (1, 1, 32, 24)),
    "fpn": (fields.Pyramid, (1, 3, 64, 96)),
    "squeeze": (lambda: nn.Sequential(*[fields.Squeeze(5) for _ in range(5)]), (1, 5, 17, 31)),
    "shuffled pixels": (fields.Spatial, (1, 3, 16, 12)),
    "aspp": (fields.Atrous, (1, 3, 128, 96)),
    "shuffled channels": (fields.Shuffle, (2, 8, 9, 11)),
    "channels last": (fields.Last, (1, 4, 13, 14)),
    "widened": (fields.Widen, (2, 4, 13, 14)),
}


@pytest.mark.parametrize("name", HARD)
def test_networks_whose_fields_are_hard(name):
    build, size = HARD[name]
    net = cs.trace(build(), size)
    assert fields.unlike(net) == []
    assert fields.left_out(net) == [], "each is told without going back"


def test_behind_aligned_corners_the_walk_ends_where_the_pass_knows():
    net = cs.trace(fields.Unet("corners"), (1, 1, 32, 24))
    assert len(fields.left_out(net)) == 6
    assert fields.unlike(net) == []
    assert local_field(net, net.outputs[0]).status == "varies"


def test_fields_of_the_table_are_never_walked_where_the_pass_knows(monkeypatch):
    with torch.device("meta"):
        net = cs.trace(fields.Exchange(), (1, 3, 96, 64))
    monkeypatch.setattr("convsmith.measure.receptive.walked_field", None)
    assert len(list(module.fields(net))) > 40


def test_a_softmax_over_channels_joins_no_axis():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.conv = nn.LayerNorm(2), nn.Conv2d(2, 2, 3)

        def forward(self, x):
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.conv(x.softmax(1))

    # The window reads rows 0 to 2, which is all of the map, yet no single position does.
    net = cs.trace(Weighted(), (1, 2, 3, 5))
    field = local_field(net, "conv")
    assert (field.size, field.reason) == ((3, 3), "")
    assert fields.unlike(net) == []


class Meet(nn.Module):
    def __init__(self, left, right, merge="cat"):
        super().__init__()
        self.left, self.right, self.merge = left, right, merge
        self.after = nn.Conv2d(2 if merge == "cat" else 1, 1, 3)

    def forward(self, x):
        a, b = self.left(x), self.right(x)
        h, w = (min(p, q) for p, q in zip(a.shape[2:], b.shape[2:]))
        if a.shape != b.shape:
            a, b = a[..., :h, :w], b[..., :h, :w]
        return self.after(torch.cat([a, b], 1) if self.merge == "cat" else a + b)


def conv(kernel, stride=1, padding=0):
    return nn.Conv2d(1, 1, kernel, stride, padding)


@pytest.mark.parametrize(
    ("left", "right", "status", "told"),
    [
        # 5 taps from pixel 0 on: centre 2; a padded 3×3: centre 0.
        (conv(5), conv(3, 1, 1), "exact", "centres 2×2 pixels apart"),
        (conv((1, 5)), conv(1), "exact", "centres 0×2 pixels apart"),
        # A pool of 2 has its centre at 0.5, the padded convolution of stride 2 at 0.
        (nn.MaxPool2d(2), conv(3, 2, 1), "exact", "centres 0.5×0.5 pixels apart"),
        # Position i of the one lies at 2·i, of the other at i; both begin with centre 0.
        (conv(3, 2, 1), conv(3, 1, 1), "varies", "merges strides of 2×2 ("),
        (conv(1, 3), conv(4, 2), "varies", "centres 1.5×1.5 pixels apart at position 0"),
        # Nearest neighbours of centres at 2·i + 0.5: pixels 2·i and 2·i + 1 lie about them.
        (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), conv(1), "exact", ""),
        # Of centres at 2·i they lie at 0 and 1 beyond: half a pixel in the mean.
        (nn.Sequential(conv(3, 2, 1), nn.Upsample(scale_factor=2)), conv(1), "exact",
         "centres 0.5×0.5 pixels apart"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("merge", ["cat", "add"])
def test_branches_that_do_not_lie_upon_each_other(left, right, status, told, merge):
    net = cs.trace(Meet(left, right, merge), (1, 1, 24, 24))
    field = local_field(net, merge)
    assert field.status == status
    assert told in field.reason if told else field.reason == ""
    after = local_field(net, "after")
    assert after.status == status
    if status == "varies":
        assert after.reason.startswith(f"behind {merge}, which merges strides of")
    else:
        assert after.reason == "", "it is told where it happens"
    inspection = cs.inspect(Meet(left, right, merge), (1, 1, 24, 24))
    assert (told in str(inspection.field_table())) is True


def test_the_residual_of_a_published_network_lies_upon_its_branch():
    with torch.device("meta"):
        net = cs.trace(networks.resnet18(), (1, 3, 64, 64))
    assert {field.reason for _, field in module.fields(net)} == {""}
