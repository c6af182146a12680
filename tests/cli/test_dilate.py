"""`convsmith dilate` as a user runs it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from convsmith.cli import main
from convsmith.cli.models import load_model

MODEL = """
from torch import nn

def features():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1),
        nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1),
    )

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1))
        self.one, self.two = nn.Conv2d(8, 8, 3, 1, 2, 2), nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.two(x) + self.one(x)

def digits():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )

def classifier():
    return nn.Sequential(features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
"""
INPUT = ["--input", "1,3,32,32"]


@pytest.fixture
def place(here):
    (here / "my.py").write_text(MODEL)
    return here


def test_it_prints_the_card_and_writes_every_format(place, capfd):
    torch.manual_seed(0)
    weights = load_model("my.py:features").state_dict()
    save_file(weights, "w.safetensors")
    words = [
        "dilate",
        "my.py:features",
        *INPUT,
        "--output-stride",
        "2",
        "--weights",
        "w.safetensors",
    ]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert "output stride" in out and "4×4" in out and "2×2" in out and "exact" in out and err == ""
    assert "latency" in out and "Layers that changed" in out and "2 → 1" in out
    assert main([*words, "-o", "fine", "--json", "c.json", "--html", "c.html"]) == 0
    data = json.loads((place / "c.json").read_text())
    assert data["report"] == "dilate" and data["exact"] and data["error"] <= 1e-10
    assert (
        data["before"]["params"]
        == data["after"]["params"]
        == sum(weights[k].numel() for k in weights if "running" not in k and "num" not in k)
    )
    assert data["before"]["ms"] > 0 and data["after"]["ms"] > 0
    assert [change["path"] for change in data["changes"]] == ["3", "5"]
    assert data["changes"][1] == {
        "path": "5",
        "stride": [[1, 1], [1, 1]],
        "dilation": [[1, 1], [2, 2]],
        "padding": [[[1, 1], [1, 1]], [[2, 2], [2, 2]]],
    }
    page = (place / "c.html").read_text()
    assert "On the old grid" in page and "Layers that changed" in page and "latency" in page
    written = load_file(place / "fine" / "model.safetensors")
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[key], weights[key]) for key in weights)
    capfd.readouterr()
    assert main([*words, "-o", "fine"]) == 2
    assert "--force" in capfd.readouterr().err
    assert main([*words, "-o", "fine", "--force", "--no-latency", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["after"]["ms"] is None
    inspected = ["inspect", "fine", "--model", "my.py:features", "--input", "1,3,32,32", "--json"]
    assert main(inspected) == 0
    assert json.loads(capfd.readouterr().out)["layers"][-1]["output"] == [1, 8, 16, 16]


def test_layers_features_rates_and_what_is_not_exact(place, capfd):
    words = ["dilate", "my.py:classifier", *INPUT, "--output-stride", "2"]
    assert main(words) == 2
    message = capfd.readouterr().err
    assert "1: global pooling over a map of rate 2; pass --features 0 to check" in message
    assert "pass --no-strict" in message and "strict=False" not in message
    assert main([*words, "--features", "0", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exact"] is True
    assert main([*words, "--no-strict", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["exact"] is False and "global pooling" in err
    words = ["dilate", "my.py:features", *INPUT, "--layers", "3", "--rates", "5=3", "--json"]
    assert main(words) == 0
    assert json.loads(capfd.readouterr().out)["rates"] == ["5: dilation 2 → 3"]


def test_accuracy_of_both_where_there_are_labels(place, capfd):
    words = ["dilate", "my.py:digits", "--input", "1,1,8,8", "--layers", "0", "--no-strict"]
    assert main([*words, "--data", "digits", "--no-latency", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert 0 <= data["before"]["accuracy"] <= 1 and 0 <= data["after"]["accuracy"] <= 1
    assert main([*words, "--features", "1", "--data", "digits", "--no-latency"]) == 0
    assert "accuracy" in capfd.readouterr().out
    words[1] = "my.py:features"
    words[3] = "1,3,32,32"
    assert main([*words, "--data", "digits", "--no-latency"]) == 1
    assert "cannot read it" in capfd.readouterr().err


def test_inspect_warns_of_dilations_that_cannot_belong_to_strided_weights(place, capfd):
    assert main(["inspect", "my.py:Block", *INPUT, "--json"]) == 0
    out, err = capfd.readouterr()
    (line,) = json.loads(out)["warnings"]
    assert line.startswith("one: dilation 2, but its input has rate 1") and line in err
    assert main(["inspect", "my.py:features", *INPUT, "--json"]) == 0
    out, err = capfd.readouterr()
    assert "warnings" not in json.loads(out) and err == ""


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["my.py:features"], 2, "--input"),
        (["my.py:features", *INPUT], 2, "output_stride"),
        (["my.py:features", *INPUT, "--layers", "9"], 2, "no layer '9'"),
        (["my.py:features", *INPUT, "--output-stride", "2", "--rates", "5=x"], 2, "--rates"),
        (["my.py:features", *INPUT, "--output-stride", "2", "--rates", "1,2,3"], 2, "3 numbers"),
    ],
)
def test_what_is_wrong_is_one_line(place, capfd, words, status, message):
    assert main(["dilate", *words]) == status
    out, err = capfd.readouterr()
    assert out == "" and message in err and err.count("\n") == 1
