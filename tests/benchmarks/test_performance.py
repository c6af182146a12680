"""The performance benchmarks measure what they say: networks, runtimes, arithmetic, page."""

from __future__ import annotations

import json
from copy import deepcopy
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from torch import nn

import convsmith as cs
from benchmarks import (
    architectures,
    calls,
    classifiers,
    families,
    layers,
    mobile,
    networks,
    pipeline,
    promise,
)  # fmt: skip
from benchmarks import cell as cells
from benchmarks.interleave import interleaved
from benchmarks.page import filled
from benchmarks.runtimes import CONVSMITH, DIRECT, RUNTIMES, Runtime, error_of, prepare
from convsmith.errors import ArgumentError

LIMITS = {"threads": 1, "gflops": 200.0, "gb_s": 30.0, "rates": {"sgemm": 200.0}}


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (mobile.mobilenetv1, 4_231_976),
        (mobile.mobilenetv2, 3_504_872),
        (mobile.mobilenetv3_large, 5_483_032),
        (mobile.efficientnet_lite0, 4_652_008),
        (mobile.resnet18, 11_689_512),
        (classifiers.vgg16, 138_357_544),
        (classifiers.squeezenet, 1_235_496),
        (classifiers.shufflenetv2, 2_278_604),
        (architectures.densenet121, 7_978_856),
    ],
)
def test_published_parameters(build, published):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build().parameters()) == published


def test_the_separable_resnet_has_the_multiply_adds_of_theory():
    """Each 3×3 falls to 1/n + 1/9 of what it had; all else stays."""
    with torch.device("meta"):
        standard, light = mobile.resnet18(), mobile.resnet18_separable()
    shape = (1, 3, 64, 64)
    expected = cs.inspect(standard, shape).macs
    # Channels before and after, side of the output, how often.
    for m, n, side, times in (
        (64, 64, 16, 4), (64, 128, 8, 1), (128, 128, 8, 3), (128, 256, 4, 1), (256, 256, 4, 3),
        (256, 512, 2, 1), (512, 512, 2, 3),
    ):  # fmt: skip
        expected += times * side**2 * (9 * m + m * n - 9 * m * n)
    assert cs.inspect(light, shape).macs == expected


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_runs_at_the_sizes_that_are_timed(name):
    sides = {size for size, _ in (*families.SIZES, *families.QUICK)}
    with torch.device("meta"), torch.no_grad():
        model = families.FAMILIES[name]().eval()
        assert {len(model(torch.empty(2, 3, side, side))) for side in sides} == {2}


def test_deeplab_gives_scores_at_full_size_from_a_sixteenth():
    model = mobile.deeplabv3plus_mobilenetv2().eval()
    with torch.no_grad():
        x = torch.randn(1, 3, 64, 96)
        assert model(x).shape == (1, 21, 64, 96)
        assert model.high(model.low(x)).shape == (1, 320, 4, 6)


def test_settled_networks_keep_their_scale_and_evaluate():
    model = mobile.settled(mobile.mobilenetv2(), 64)
    assert not model.training
    with torch.no_grad():
        first, second = (model(torch.randn(1, 3, 64, 64)) for _ in range(2))
    assert first.std() > 1e-2
    assert (first - second).abs().max() > 1e-2


@pytest.mark.parametrize("cell", promise.CELLS, ids=lambda cell: cell.name)
def test_a_cell_of_the_promise(cell):
    macs = []
    for separable in (False, True):
        with torch.device("meta"):
            model = cell.build(separable).eval()
        report = cs.inspect(model, (1, cell.channels[0], cell.side, cell.side))
        macs.append(report.macs)
        assert report.macs == cell.macs(separable)
    assert cell.theory == macs[0] / macs[1]
    if len(set(cell.channels)) == 1:
        assert cell.theory == pytest.approx(1 / (1 / cell.channels[0] + 1 / cell.kernel**2))
    assert len(list(pairwise(cell.channels))) == 3


@pytest.mark.parametrize("case", layers.CASES, ids=lambda case: case.name)
def test_multiply_adds_of_a_layer(case):
    with torch.device("meta"):
        layer = case.build()
    assert cs.inspect(layer, case.shape).macs == case.macs


def small():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.Hardswish(),
        nn.Conv2d(16, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10),
    )  # fmt: skip
    x = torch.randn(2, 3, 31, 33)
    return mobile.settled_on(model, x), x


USED = {
    "channels_last": "torch", "ONNX Runtime": "onnxscript", "OpenVINO": "openvino",
    "ncnn": "ncnn", DIRECT: "ncnn", CONVSMITH: "convsmith",
}  # fmt: skip


# The rest is in the extra of the benchmarks, not in that of development.
INSTALLED = [name for name, package in USED.items() if find_spec(package)]


@pytest.mark.parametrize("name", INSTALLED)
def test_runtimes_give_what_eager_gives(name):
    model, x = small()
    ready = prepare(model, x, 1, [name])
    assert ready.reasons == {}
    with torch.no_grad():
        exact = deepcopy(model).double()(x.double())
    assert ready.values[name].shape == exact.shape
    assert error_of(ready.values[name], exact) < 1e-5
    runtime = next(runtime for runtime in RUNTIMES if runtime.name == name)
    assert torch.equal(runtime.value(ready.calls[name]()), ready.values[name])


def test_what_fails_and_what_is_wrong_is_not_timed(monkeypatch):
    def fails(*_):
        raise RuntimeError("\nno such operator\nmore")

    def wrong(model, example, threads, folder):
        return lambda: model(example) * 1.01

    more = (Runtime("fails", "torch", fails), Runtime("wrong", "torch", wrong))
    monkeypatch.setattr("benchmarks.runtimes.RUNTIMES", (RUNTIMES[0], *more))
    ready = prepare(*small(), 1)
    assert list(ready.calls) == ["eager"]
    assert ready.reasons["fails"] == "RuntimeError: no such operator"
    assert ready.reasons["wrong"].startswith("wrong: 1.0e-02 ")


def test_calls_take_turns():
    order = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 0.001)
    assert found["a"].runs == found["b"].runs >= 3
    assert "".join(order).replace("aabb", "") == "ab"


def cell_of(**times):
    return {
        "times": {name: {"median_ms": ms} for name, ms in times.items()},
        "errors": {},
        "reasons": {"ncnn": "none here"},
    }


def test_the_best_peer_and_limits():
    cell = cell_of(**{"eager": 8.0, "OpenVINO": 3.0, "OpenVINO bf16": 1.0, CONVSMITH: 2.0})
    assert cells.best_peer(cell) == ("OpenVINO", 3.0)
    assert cells.ratio(cell) == 1.5
    assert cells.ratio(cell, "eager") == 4
    assert cells.ratio(cell, "ncnn") is None
    bound = cells.limited(0.1, 0.003, 1.0, LIMITS)
    assert (bound["binding"], bound["gflop_s"]) == ("arithmetic", pytest.approx(100))
    assert bound["share"] == pytest.approx(0.5)
    assert cells.limited(0.001, 0.015, 1.0, LIMITS)["binding"] == "bandwidth"


def test_misses_and_the_page():
    good = {"eager": 20.0, "channels_last": 30.0, "OpenVINO": 3.0, CONVSMITH: 2.0}
    bad = {"eager": 20.0, "channels_last": 15.0, "OpenVINO": 1.0, CONVSMITH: 2.0}
    rows = [
        {"network": "MobileNetV2", "size": size, "batch": 1, **(cell := cell_of(**times))}
        | {"times_best_peer": cells.ratio(cell)}
        | {"times_channels_last": cells.ratio(cell, "channels_last"), "share": share}
        for size, times, share in ((224, good, 0.75), (2048, bad, 0.9))
    ]
    result = {
        "limits": LIMITS,
        "versions": {"OpenVINO": "1"},
        "rows": rows,
        "accuracy": [{"network": "MobileNetV2", "errors": {"eager": 1e-6, CONVSMITH: 3e-6}}],
        "memory": {"size": 2048, CONVSMITH: 30, "ONNX Runtime": 100},
    }
    missed = [*networks.missed(result, 0.85), *networks._memory(result)]
    assert missed == [
        "MobileNetV2 1×224², 75% of the peak, not 85%",
        "MobileNetV2 1×2048²: 2.00 ms, 90% of the peak, OpenVINO 1.00 ms",
        "geometric mean 0.87× the best peer, not 1.15×",
        "MobileNetV2: error 3.0e-06, more than twice eager's 1.0e-06",
        "memory at 2048²: 0.30 of ONNX Runtime's",
    ]
    machine = {"model": "a processor", "cores": 2, "instruction_sets": ["AVX2"], "torch": "2",
               "commit": "0123456789"}  # fmt: skip
    document = json.loads(
        json.dumps(
            {"benchmark": "networks", "options": {"threads": 1}, "machine": machine,
             "convsmith": "0", "date": "2026-01-02T03:04:05", "command": "python -m benchmarks",
             **result, "missed": missed}
        )
    )  # fmt: skip
    page = "# P\n<!-- networks, threads 1 -->\nold\n<!-- end -->\nkept\n"
    once = filled(page, document)
    assert "old" not in once
    assert once.endswith("<!-- end -->\nkept\n")
    assert (
        "| MobileNetV2 | 1×2048² | 20.0 ms | 15.0 ms | 1.00 ms | 2.00 ms | 0.50 | 7.5 | 90.0 % |"
        in once
    )
    assert all(f"- {line}" in once for line in missed)
    assert "ncnn fails in MobileNetV2 1×224² and 1 more: none here" in once
    assert filled(once, document) == once
    with pytest.raises(ArgumentError, match="threads 2"):
        filled(page, document | {"options": {"threads": 2}})
    with pytest.raises(ArgumentError, match="networks bf16, threads 1"):
        filled(page, document | {"options": {"threads": 1, "precision": "bf16"}})


def test_calls_miss_their_goal_where_another_is_quicker():
    def row(runtime, warm, cold):
        return {"network": "one", "runtime": runtime, "warm_us": warm, "cold_us": cold}

    ours = [row(CONVSMITH, 5, 90), row(calls.FROZEN, 4, 80)]
    assert list(calls.missed([row("ONNX Runtime", 5, 90), *ours])) == []
    missed = list(calls.missed([row("ONNX Runtime", 4.5, 100), row("OpenVINO", 9, 85), *ours]))
    assert missed == [
        "one, warm: convsmith 5.0 µs, ONNX Runtime 4.5",
        "one, cold: convsmith 90.0 µs, OpenVINO 85.0",
    ]
    assert list(calls.missed(ours)) == ["one: no other runtime is installed"]


def test_a_pipeline_misses_its_goal_where_another_is_quicker():
    rows = [{"runtime": name, "frame_ms": ms} for name, ms in ((CONVSMITH, 9.0), ("eager", 30.0))]
    assert list(pipeline._missed(rows)) == []
    rows.append({"runtime": "OpenVINO", "frame_ms": 8.0})
    assert list(pipeline._missed(rows)) == ["OpenVINO takes 8.0 ms a frame, less than convsmith"]
