"""What other counters say: literal totals, reasons, and equality with the tools themselves."""

from __future__ import annotations

import csv
import json
import logging
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure.counters import MULTIPLY_ADDS, TOOLS, count_as, multiply_adds
from tests import networks

MOBILENET_V2 = {
    "torch": 300_774_272,
    "torchinfo": 300_809_384,
    "fvcore": 314_193_216,
    "ptflops": 320_362_728,
    "thop": 327_550_720,
}


@pytest.fixture(scope="module")
def mobilenet():
    with torch.device("meta"):
        return cs.trace(networks.mobilenet_v2().eval(), (1, 3, 224, 224))


@pytest.mark.parametrize("tool", TOOLS)
def test_mobilenet_v2_to_the_unit(mobilenet, tool):
    counted = count_as(mobilenet, tool)
    assert (counted.total, counted.exact) == (MOBILENET_V2[tool], 300_774_272)
    assert counted.says == counted.total * (2 if tool == "torch" else 1)
    assert sum(row.theirs for row in counted.rows) == sum(counted.terms.values()) == counted.total
    assert [row.name for row in counted.rows] == [x.name for x in mobilenet if x.kind != "input"]
    of_multiply_adds = {k: v for k, v in counted.terms.items() if k in MULTIPLY_ADDS}
    assert of_multiply_adds == multiply_adds(mobilenet)


def test_mobilenet_v2_differs_by_these_terms(mobilenet):
    beyond = {
        tool: {k: v for k, v in count_as(mobilenet, tool).terms.items() if k not in MULTIPLY_ADDS}
        for tool in TOOLS
    }
    assert beyond["torch"] == {}
    assert list(beyond["torchinfo"].values()) == [34_112, 1_000]
    assert list(beyond["fvcore"].values()) == [13_356_224, 62_720]
    assert sorted(beyond["ptflops"].values()) == [1_000, 62_720, 62_720, 6_105_792, 13_356_224]
    assert sorted(beyond["thop"].values()) == [64_000, 26_712_448]


class Own(nn.Conv2d):
    pass


class Odd(nn.Module):
    """What hooks on modules miss: a subclass, functional calls, products, weights of weights."""

    def __init__(self):
        super().__init__()
        self.own = Own(3, 6, 3, bias=False)
        self.up = nn.ConvTranspose2d(6, 4, 4, 2, 1, bias=False)
        self.same = nn.Conv2d(4, 4, 3, padding="same", bias=False)
        self.kernel = nn.Parameter(torch.rand(5, 4, 1, 1))
        self.left, self.right = nn.Parameter(torch.rand(7, 2)), nn.Parameter(torch.rand(2, 5))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(5, 5, 1, bias=False))

    def forward(self, x):
        x = self.same(self.up(self.own(x)))
        x = self.normed(F.conv2d(x, self.kernel)).flatten(2)
        x = F.linear(x.transpose(1, 2) @ x.new_ones(5, 5), self.left @ self.right)
        x = x.unsqueeze(1)
        return F.scaled_dot_product_attention(x, x, x)


ODD = {
    "own": ("", "", "a module of class Own: not seen", "a module of class Own: not seen"),
    "up": ("", "", "transposed convolutions, at output positions", ""),
    "same": ("padding='same': no rule", "", "", ""),
    "conv2d": ("", "", "functional call: not seen", "functional call: not seen"),
    "matmul": ("", "", "of weights alone: not seen", "of weights alone: not seen"),
    "linear": ("", "", "functional call: not seen", "functional call: not seen"),
    "scaled_dot_product_attention": (
        "no rule for scaled_dot_product_attention",
        "no rule for the fused kernel of scaled_dot_product_attention",
        "functional call: not seen",
        "functional call: not seen",
    ),
}  # fmt: skip


def test_reasons():
    network = cs.trace(Odd().eval(), (1, 3, 9, 8))
    fvcore, torch_, thop, ptflops = (
        {row.name: row for row in count_as(network, tool).rows}
        for tool in ("fvcore", "torch", "thop", "ptflops")
    )
    (weights,) = [x.name for x in network if x.constant and x.kind == "matmul"]
    for name, whys in ODD.items():
        name = weights if name == "matmul" else name
        assert tuple(rows[name].why for rows in (fvcore, torch_, thop, ptflops)) == whys
    assert thop["up"].theirs == 4 * thop["up"].ours == 4 * 16 * 6 * 4 * 7 * 6
    normed = next(row for name, row in thop.items() if name.startswith("normed") and row.ours)
    assert (normed.theirs, normed.why) == (0, "a module of class ParametrizedConv2d: not seen")


class MultiHead(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.attention, self.weights = nn.MultiheadAttention(24, 4, batch_first=True), weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.weights)[0]


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x[..., : self.width])


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer(5, 7, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0]


def normalised():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.PReLU(),
        nn.LayerNorm([7, 9]), nn.ELU(), nn.Softmax(1), nn.Flatten(), nn.Linear(504, 5),
    )  # fmt: skip


def resized():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
        nn.Upsample(scale_factor=2, mode="bilinear"), nn.UpsamplingBilinear2d(size=(9, 7)),
        nn.BatchNorm2d(6), nn.ReLU6(), nn.AvgPool2d(2), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


SMALL = {
    "residual": (lambda: networks.resnet((1, 1), 1, width=8), (2, 3, 33, 31)),
    "inverted": (lambda: networks.Inverted(4, 4, 1, 6), (1, 4, 7, 5)),
    "everything": (networks.Everything, (2, 3, 9, 11)),
    "odd": (Odd, (1, 3, 9, 8)),
    "normalised": (normalised, (2, 3, 9, 11)),
    "resized": (resized, (2, 3, 9, 11)),
    "multi-head": (lambda: MultiHead(weights=False), (2, 10, 24)),
    "multi-head with weights": (lambda: MultiHead(weights=True), (2, 10, 24)),
    "attention": (lambda: Attention(6), (2, 4, 10, 6)),
    "attention, other values": (lambda: Attention(5), (2, 4, 10, 6)),
    "attention, three axes": (lambda: Attention(6), (2, 10, 6)),
    "encoder": (lambda: nn.TransformerEncoderLayer(24, 4, 48, batch_first=True), (2, 10, 24)),
    "sequence first": (lambda: nn.TransformerEncoderLayer(24, 4, 48), (10, 2, 24)),
    "LSTM": (lambda: Recurrent(nn.LSTM), (2, 11, 5)),
    "GRU": (lambda: Recurrent(nn.GRU), (2, 11, 5)),
}


def by_fvcore(model, x):
    return pytest.importorskip("fvcore.nn").FlopCountAnalysis(model, x).total()


def by_ptflops(model, x):
    count = pytest.importorskip("ptflops").get_model_complexity_info
    macs, _ = count(
        model, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False,
        input_constructor=lambda _: x,
    )  # fmt: skip
    return macs


def by_thop(model, x):
    return pytest.importorskip("thop").profile(model, inputs=(x,), verbose=False)[0]


def by_torchinfo(model, x):
    return pytest.importorskip("torchinfo").summary(model, input_data=x, verbose=0).total_mult_adds


def by_torch(model, x):
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops()


SAID = {
    "fvcore": by_fvcore,
    "ptflops": by_ptflops,
    "thop": by_thop,
    "torchinfo": by_torchinfo,
    "torch": by_torch,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", SMALL)
def test_what_the_tool_itself_says(name, tool, caplog):
    caplog.set_level(logging.CRITICAL)
    build, shape = SMALL[name]
    model = build().eval()
    counted = count_as(cs.trace(model, shape), tool)
    with redirect_stdout(StringIO()):
        said = SAID[tool](model, torch.rand(shape))
    assert counted.says == said
    assert sum(counted.terms.values()) == counted.total
    # A reason where the two differ, and only there.
    assert all(bool(row.why) == (row.theirs != row.ours) for row in counted.rows)


def test_what_we_cannot_count_is_named():
    counted = count_as(cs.trace(networks.Everything().eval(), (2, 3, 9, 11)), "thop")
    (row,) = [row for row in counted.rows if row.ours is None]
    assert (row.theirs, row.why) == (0, "no rule counts 'special_bessel_j0'")


def test_ptflops_says_what_a_graph_does_not_tell():
    added = cs.trace(networks.Inverted(4, 4, 1, 6).eval(), (1, 4, 7, 5))
    plain = cs.trace(nn.Conv2d(3, 4, 3), (1, 3, 9, 9))
    assert "torch.add" in count_as(added, "ptflops").note
    assert not count_as(plain, "ptflops").note and not count_as(added, "thop").note


def test_views_agree(mobilenet):
    counted = count_as(mobilenet, "torch")
    assert counted.table().rows == () and counted.differing == ()
    assert "601,548,544 FLOPs" in counted.table().title
    assert "2 FLOPs a multiply-add" in counted.table().note
    counted = count_as(mobilenet, "torchinfo")
    table = counted.table()
    assert len(table.rows) == len(counted.differing) == 53
    assert table.footer == ("total", 300_809_384, 300_774_272, "")
    rows = list(csv.DictReader(StringIO(counted.to_csv())))
    assert sum(int(row["theirs"]) - int(row["ours"]) for row in rows) == 35_112
    assert rows[-1]["why"] == "linear biases, once a sample"
    plain = json.loads(json.dumps(counted.to_dict()))
    assert (plain["total"], plain["exact"]) == (300_809_384, 300_774_272)
    assert sum(row["theirs"] for row in plain["rows"]) == plain["says"]
    assert plain["tool_version"] == "1.8.0"
    assert "\n" not in repr(counted) and "300,809,384 mult-adds" in repr(counted)


def test_an_unknown_tool_is_refused(mobilenet):
    with pytest.raises(ArgumentError, match="no counter 'torchinf'; did you mean 'torchinfo'"):
        count_as(mobilenet, "torchinf")
    with pytest.raises(ArgumentError, match=r"'\?', only fvcore, ptflops, thop, torchinfo, torch"):
        count_as(mobilenet, "?")
