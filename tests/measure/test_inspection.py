"""The report: totals, order, groups, formats."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.measure import latency
from convsmith.measure.receptive import true_field
from convsmith.report import Section, field_picture
from tests.draw.markup import parse
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
    with pytest.raises(ArgumentError, match="by must be one of 'layer', 'module'"):
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


def figures(page):
    return [svg.find("desc")[0].text for svg in parse(page).find("svg") if svg.find("desc")]


def test_the_page_shows_cost_and_field(report):
    by_module, by_layer, field = figures(report.to_html())
    assert by_module.startswith("0: ") and by_layer.startswith("0.0: ")
    assert f"Field {report.local_receptive_field}" in field and "image 32×32" in field
    assert report.to_html() == report.to_html()


def test_more_of_the_page():
    report = cs.inspect(nn.Linear(3, 4), (1, 3))
    table = report.table()
    page = parse(report.to_html([Section("Mine", "words"), table]))
    headings = [h.text for h in page.find("h2")]
    assert headings == ["Where the multiply-adds are", "Mine", "Modules", "Layers", "More"]
    assert report.field_figure() is None


@pytest.mark.parametrize(
    ("model", "size", "field", "where"),
    [
        (nn.Conv1d(1, 1, 3, stride=2, padding=1), (1, 1, 11), "3 of 3", "position 3 of"),
        (nn.Conv2d(1, 1, (3, 1), dilation=2), (1, 1, 9, 7), "3 of 5", "position 2, 3 of"),
        (nn.Conv3d(1, 1, 3, dilation=2, padding=2), (1, 1, 8, 8, 8), "27 of 125", "4, 4, 4 of"),
        (nn.ConvTranspose2d(1, 1, 3, stride=2), (1, 1, 8, 8), "4 of 4", "8, 8 of"),
    ],
)
def test_the_picture_of_a_field(model, size, field, where):
    figure = cs.inspect(model, size).field_figure()
    assert f"{field} positions read" in figure.svg and where in figure.caption
    assert "padding" not in figure.caption


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, dilation=3, padding=3)],
        [nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=3, mode="bilinear"), nn.Conv2d(1, 1, 2)],
        [nn.ConvTranspose2d(1, 1, (3, 5), (1, 4)), nn.Conv2d(1, 1, 3)],
        [nn.ConvTranspose2d(1, 1, (5, 4), (3, 1)), nn.Conv2d(1, 1, 3)],
    ],
)
def test_the_picture_lies_where_that_position_really_reads(layers):
    report = cs.inspect(nn.Sequential(*layers), (1, 1, 40, 40))
    figure = report.field_figure()
    name = report.network.outputs[0]
    at = [int(n) for n in re.search(r"position (\d+), (\d+) of", figure.caption).groups()]
    field = true_field(report.network, name, at)
    title = f"Receptive field of {name}"
    assert figure.svg == field_picture(field.region, image=(40, 40), title=title)


def test_what_lies_in_the_padding_is_said():
    figure = cs.inspect(resnet((1, 1), 1, width=8), (1, 3, 16, 16)).field_figure()
    assert "Beyond the image's frame lies padding." in figure.caption
