"""What `convsmith inspect` can show, an `Inspection` can: the same data, from one trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli import main
from convsmith.measure import inspection as module
from convsmith.network import trace

NET = """
import torch
from torch import nn

def wide():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 2, 2), nn.MaxPool2d(2)
    )

def narrow():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1))
"""
SHAPE = (1, 1, 12, 12)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    names: dict[str, Any] = {}
    exec(NET, names)
    return names


def _told(capfd: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["inspect", "net.py:wide", "--input", "1,1,12,12", *options, "--json"]) == 0
    return dict(json.loads(capfd.readouterr().out))


def test_each_view_is_that_of_the_command_line(
    place: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    report = cs.inspect(place["wide"](), SHAPE)
    other = cs.inspect(place["narrow"](), SHAPE)
    torch.manual_seed(0)
    images = torch.randn((8, *SHAPE[1:]), generator=torch.Generator().manual_seed(0))
    told = _told(
        capfd, "--sizes", "--as", "thop", "--compare", "net.py:narrow", "--effective",
        "--receptive-field", "--holes", "--memory", "--latency",
    )  # fmt: skip
    assert told["sizes"] == report.sizes().to_dict()
    assert told["as"] == report.count_as("thop").to_dict()
    assert told["other"] == report.compare(other).to_dict()["other"] == other.to_dict()
    assert told["holes"] == report.holes().to_dict()
    assert report.memory is not None
    assert told["memory"] == report.memory.to_dict()
    assert told["latency"].keys() == report.latency(seconds=0).to_dict().keys()
    fields = [{"name": name} | field.to_dict() for name, field in report.fields().items()]
    assert told["receptive_fields"] == fields
    # Eight random images one by one, as they are drawn from one generator.
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(SHAPE, generator=generator) for _ in range(8)]
    found = report.effective(batches, source="random, seed 0")
    assert told["effective"] == found.to_dict()
    assert found.exact == report.local_receptive_field
    assert images.shape == torch.cat(batches).shape


def test_fields_are_those_of_field_of(place: dict[str, Any]) -> None:
    report = cs.inspect(place["wide"](), SHAPE)
    assert list(report.fields()) == ["0", "2", "3"]
    for name, field in report.fields().items():
        assert isinstance(field, cs.ReceptiveField)
        assert field == report.field_of(name)
    assert cs.inspect(nn.Linear(2, 2), (1, 2)).fields() == {}


def test_one_trace_serves_all_views(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    report = cs.inspect(place["wide"](), SHAPE)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr("torch.export.export", refuse)
    report.sizes()
    report.count_as("torch")
    report.latency(seconds=0)
    report.effective(torch.rand(2, 1, 12, 12))
    report.compare(report)


def test_compare_shows_what_differs(place: dict[str, Any]) -> None:
    one, other = (cs.inspect(place[name](), SHAPE) for name in ("wide", "narrow"))
    found = one.compare(other)
    assert [row[0] for row in found.layer_table().rows] == ["0", "2"]
    assert found.to_dict() == {"one": one.to_dict(), "other": other.to_dict()}
    assert "× the parameters" in repr(found)
    assert repr(one.compare(one)).endswith("1.000× the parameters, 1.000× the MACs)")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.compare(nn.ReLU()), "compare takes another inspection.*not ReLU"),
        (lambda r: r.count_as("nothing"), "nothing"),
        (lambda r: r.effective(torch.zeros(0, 1, 12, 12)), "no images"),
        (lambda r: r.effective(torch.rand(1, 1, 12, 12), "33"), "no layer '33'"),
    ],
)
def test_what_cannot_be_shown(place: dict[str, Any], call: Any, message: str) -> None:
    with pytest.raises(cs.ArgumentError, match=message):
        call(cs.inspect(place["wide"](), SHAPE))


def test_an_exported_program_has_neither_gradients_nor_sizes(place: dict[str, Any]) -> None:
    program = torch.export.export(place["wide"](), (torch.zeros(SHAPE),))
    report = cs.inspect(program)
    with pytest.raises(cs.ArgumentError, match=r"exported program"):
        report.effective(torch.rand(1, 1, 12, 12))
    with pytest.raises(cs.ArgumentError, match=r"exported program"):
        report.sizes()


def test_an_inspection_without_its_network_says_so(place: dict[str, Any]) -> None:
    report = cs.inspect(place["wide"](), SHAPE)
    bare = module.Inspection(report.model, report.inputs, report.layers, report.params)
    for call in (bare.latency, bare.sizes, lambda: bare.count_as("torch")):
        with pytest.raises(cs.ArgumentError, match="keeps no network"):
            call()
    assert bare.fields() == {} and bare.memory is None


def test_sizes_of_a_network_are_those_of_its_model(place: dict[str, Any]) -> None:
    model = place["wide"]()
    assert cs.measure.sizes(trace(model, SHAPE)) == cs.measure.sizes(model, SHAPE)
