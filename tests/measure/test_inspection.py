"""The report: totals, order, groups, formats."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure import latency
from tests.networks import Everything, resnet


@pytest.fixture(scope="module")
def report():
    return cs.inspect(resnet((1, 1), 1, width=8, classes=10), (2, 3, 32, 32))


def test_shared_weights_count_once():
    report = cs.inspect(Everything(), (1, 3, 9, 9))
    assert report.params == sum(p.numel() for p in Everything().parameters())
    assert report["twice"].params == 8 * 8 * 9 + 8
    assert report["twice#2"].params == 0 and report["tied"].params == 0
    assert report["tied"].shared == ("twice.weight",)
    assert report["twice"].macs == report["twice#2"].macs > 0
    assert report.unused == ("aside.weight", "aside.bias")
    text = str(report)
    assert "shared by several layers" in text and "aside.weight" in text


def test_modules_add_up(report):
    for depth in (1, 2, 3):
        rows = report.by_module(depth)
        for figure in ("params", "macs", "flops", "bytes"):
            assert sum(getattr(row, figure) for row in rows) == getattr(report, figure)
    names = [row.name for row in report.by_module(1)]
    assert names == ["", "0", "1", "2", "3", "4", "5", "6"]


def test_sorting(report):
    rows = report.table(sort="macs").rows
    macs = [row[4] for row in rows]
    assert macs == sorted(macs, reverse=True)
    with pytest.raises(ArgumentError, match="did you mean 'macs'"):
        report.table(sort="mac")
    with pytest.raises(ArgumentError, match="'layer' or 'module'"):
        report.table(by="block")
    with pytest.raises(ArgumentError, match="depth"):
        report.by_module(0)


def test_the_text_table():
    report = cs.inspect(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()), (1, 3, 10, 10))
    assert (
        str(report)
        == """\
Sequential on 1×3×10×10

layer  operation        output   parameters    MACs  of MACs   FLOPs  bytes
───────────────────────────────────────────────────────────────────────────
0      convolution 3×3  1×8×8×8         224  13,824  100.0 %  28,160  4,144
1      relu             1×8×8×8           0       0    0.0 %     512  4,096
───────────────────────────────────────────────────────────────────────────
total                                   224  13,824           28,672  8,240"""
    )


def test_bytes_are_operands_and_results_once_and_views_are_free(report):
    stem = report["0.0"]
    assert stem.bytes == 4 * (2 * 3 * 32 * 32 + 8 * 3 * 49 + 2 * 8 * 16 * 16)
    assert report["5"].kind == "reshape" and report["5"].bytes == 0


def test_formats(report):
    data = json.loads(json.dumps(report.to_dict()))
    assert data["report"] == "inspection" and data["version"] == 1
    assert data["total"]["macs"] == sum(layer["macs"] for layer in data["layers"])
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert len(rows) == len(report.layers)
    assert sum(int(row["params"]) for row in rows) == report.params
    frame = report.to_pandas()
    assert frame["macs"].sum() == report.macs
    page = report.to_html()
    HTMLParser().feed(page)
    assert "<!doctype html>" in page and f"{report.macs:,}" in page
    assert "<table" in report._repr_html_()
    assert repr(report).startswith("Inspection(Sequential: ") and "\n" not in repr(report)


def test_a_network_that_is_traced_already():
    net = cs.trace(nn.Linear(3, 4), (1, 3))
    assert cs.inspect(net).macs == 12


def test_latency_takes_turns():
    order = []
    found = latency(
        {name: (lambda name=name: order.append(name)) for name in "ab"}, seconds=0, minimum=4
    )
    assert order == ["a", "b"] * 5  # one warm-up each, then four runs
    assert found["a"].runs == 4 and found["a"].low_ms <= found["a"].median_ms
    with pytest.raises(ArgumentError):
        latency({})


def test_inspecting_changes_nothing():
    model = Everything().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cs.inspect(model, (1, 3, 9, 9))
    assert model.training and model.norm.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
