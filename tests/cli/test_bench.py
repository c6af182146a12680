"""`convsmith bench`: what ran, what did not and why, and which to use."""

from __future__ import annotations

import json

import pytest

from convsmith.cli import main, peers
from convsmith.runtime import precision
from convsmith.runtime.precision import lacks_bf16

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Flatten())
"""
QUICK = ["bench", "my.py:build", "--size", "9", "--threads", "1", "--seconds", "0.01"]


@pytest.fixture
def place(here, monkeypatch):
    (here / "my.py").write_text(MODEL)
    # torch.compile takes a minute and a compiler.
    some = [peer for peer in peers.PEERS if peer.name != "torch.compile"]
    missing = peers.Peer("rarely", ("no_such_package",), "", peers.PEERS[0].make)
    broken = peers.Peer("broken", (), "", lambda *a: 1 / 0)
    monkeypatch.setattr(peers, "PEERS", (*some, missing, broken))
    return here


def test_json(place, capsys):
    assert main([*QUICK, "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    runs = {runtime["name"]: runtime for runtime in report["runtimes"]}
    assert report["shape"] == [1, 3, 9, 9]
    assert runs["convsmith"]["error"] < 1e-5
    assert "none of its convolutions" in runs["convsmith Winograd"]["why"]
    assert runs["torch"]["speedup"] == 1
    assert runs["rarely"]["why"] == "pip install no_such_package"
    assert runs["broken"]["why"].startswith("ZeroDivisionError")
    ran = [runtime["median_ms"] for runtime in report["runtimes"] if not runtime["why"]]
    assert ran == sorted(ran)
    assert "preparing convsmith" in err


SEVERAL = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, image, other, shift=None):
        y = self.conv(image).mean((2, 3)) + other
        return y if shift is None else y - shift
"""


@pytest.mark.parametrize(
    "given", [["2,3,9,14", "2,8"], ["image=2,3,9,14", "shift=2,8", "other=2,8"]]
)
def test_inputs_of_any_shape(place, capsys, given):
    (place / "two.py").write_text(SEVERAL)
    options = [word for text in given for word in ("--input", text)]
    arguments = ["bench", "two.py:Two", *options, "--threads", "1", "--seconds", "0.01", "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["shape"] == [2, 3, 9, 14]
    assert report["more_shapes"] == [[2, 8]] * (len(given) - 1)
    runs = {runtime["name"]: runtime for runtime in report["runtimes"]}
    for name in ("torch channels_last", "onnxruntime", "openvino", "convsmith"):
        assert runs[name]["why"] or runs[name]["error"] < 1e-5, name
    assert not runs["convsmith"]["why"]


def test_images_that_are_not_square(place, capsys):
    assert main([*QUICK[:2], "--input", "2,3,9,12", *QUICK[4:]]) == 0
    assert "2×3×9×12, threads: 1" in capsys.readouterr().out


def test_a_shape_beside_its_lengths(place, capsys):
    assert main([*QUICK, "--input", "1,3,9,9"]) == 2
    assert "--input gives the whole shape: pass it without --size" in capsys.readouterr().err


def test_table(place, capsys):
    assert main(QUICK) == 0
    out = capsys.readouterr().out
    assert "use " in out
    assert "channels_last" in out


@pytest.mark.parametrize(
    "wrong", [["--size", "0"], ["--threads", "0"], ["--seconds", "0"], ["--batch", "-1"]]
)
def test_wrong_usage(place, capsys, wrong):
    assert main([*QUICK, *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.skipif(bool(lacks_bf16()), reason=f"no bf16: {lacks_bf16()}")
def test_runtimes_in_bf16_beside_those_in_float32(place, capsys):
    assert main([*QUICK, "--precision", "bf16", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    errors = {runtime["name"]: runtime["error"] for runtime in report["runtimes"]}
    assert report["precision"] == "bf16"
    assert errors["convsmith"] < 1e-5 < errors["convsmith bf16"] < 1e-2
    assert "openvino bf16" in errors


def test_a_precision_that_cannot_be(place, capsys, monkeypatch):
    assert main([*QUICK, "--precision", "bf"]) == 2
    assert "--precision must be one of 'float32', 'bf16', not 'bf'" in capsys.readouterr().err
    monkeypatch.setattr(precision, "lacks_bf16", lambda: "this processor lacks it")
    assert main([*QUICK, "--precision", "bf16"]) == 2
    assert "no bf16 here: this processor lacks it" in capsys.readouterr().err
