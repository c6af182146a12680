"""Inputs on the command line: names, types, lists and dicts of shapes."""

from __future__ import annotations

import json

import pytest

from convsmith.cli.inputs import read_inputs
from convsmith.cli.main import main
from convsmith.errors import ArgumentError

READ = [
    ([], None),
    (["1,3,224,224"], [(1, 3, 224, 224)]),
    (["1x3x8x8", "2,4"], [(1, 3, 8, 8), (2, 4)]),
    (["1,16:int64"], [((1, 16), "int64")]),
    (["x=1,3,8,8", "ids=1,16:int64"], {"x": (1, 3, 8, 8), "ids": ((1, 16), "int64")}),
    (["x=1x3x8x8"], {"x": (1, 3, 8, 8)}),
    (["0.0=3,6,8", "0.1=3,5,9"], [[(3, 6, 8), (3, 5, 9)]]),
    (["1=2,3", "0=4,5"], [(4, 5), (2, 3)]),
    (
        ["batch.image=1,3,8,8", "batch.ids.0=4:int32", "batch.ids.1=5"],
        {"batch": {"image": (1, 3, 8, 8), "ids": [((4,), "int32"), (5,)]}},
    ),
    (["0.image=1,3,8,8"], [{"image": (1, 3, 8, 8)}]),
    ([f"0.{i}={i + 1}" for i in range(11)], [[(i + 1,) for i in range(11)]]),
]


@pytest.mark.parametrize(("texts", "example"), READ)
def test_what_is_read(texts, example):
    assert read_inputs(texts) == example


WRONG = [
    (["1,3,x"], "not a shape"),
    (["x=0,3"], "at least 1"),
    (["x=1,3", "4,5"], "'4,5' has no name"),
    (["x=1,3", "x=4,5"], "there twice"),
    (["x=1,3", "x.y=4,5"], "'x' is a tensor already"),
    (["x.y=1,3", "x=4,5"], "there twice"),
    (["=1,3"], "is not a name"),
    (["x..y=1,3"], "is not a name"),
    (["1=1,3"], "count from 0"),
    (["0=1,3", "x=2"], "count from 0"),
    (["1,3:"], "a type has a name"),
    (["1,3:int 64"], "a type has a name"),
]


@pytest.mark.parametrize(("texts", "message"), WRONG)
def test_what_is_wrong_is_one_line_that_names_it(texts, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        read_inputs(texts)
    assert "--input" in str(caught.value) and "\n" not in str(caught.value)


MODELS = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.conv, self.out = nn.Embedding(10, 8), nn.Conv2d(3, 8, 3), nn.Linear(8, 2)
    def forward(self, x, ids):
        return self.out(self.conv(x).mean((2, 3)) + self.table(ids).mean(1))

class Batch(Words):
    def forward(self, batch):
        return super().forward(batch["x"], batch["parts"][0])

class Images(Words):
    def forward(self, images):
        return [self.conv(image) for image in images]
"""
SMALL = 6 * 6 * 8 * 27
CALLS = [
    ("Words", ["x=1,3,8,8", "ids=1,5:int64"], SMALL + 16),
    ("Words", ["1,3,8,8", "1,5:int64"], SMALL + 16),
    ("Batch", ["0.x=1,3,8,8", "0.parts.0=1,5:long"], SMALL + 16),
    ("Images", ["0.0=3,8,8", "0.1=3,4,5"], SMALL + 2 * 3 * 8 * 27),
]


@pytest.mark.parametrize(("name", "inputs", "macs"), CALLS)
@pytest.mark.parametrize("more", [[], ["--run"]])
def test_models_are_called_with_what_is_named(here, capfd, name, inputs, macs, more):
    (here / "my.py").write_text(MODELS)
    words = [word for text in inputs for word in ("--input", text)]
    assert main(["inspect", f"my.py:{name}", *words, "--json", *more]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["total"]["macs"] == macs
    assert report["total"]["status"] == ("measured" if more else "exact")


def test_views_take_named_inputs(here, capfd):
    (here / "my.py").write_text(MODELS)
    words = ["inspect", "my.py:Words", "--input", "x=1,3,8,8", "--input", "ids=1,5:int64"]
    assert main([*words, "--memory", "--receptive-field", "--latency"]) == 0, capfd.readouterr().err


def test_a_type_that_does_not_exist_is_named_with_the_nearest(here, capfd):
    (here / "my.py").write_text(MODELS)
    assert main(["inspect", "my.py:Words", "--input", "x=1,3,8,8:float23"]) == 2
    err = capfd.readouterr().err
    assert "'float23'" in err and "float32" in err and err.count("\n") == 1
