"""`lighten(precision="bf16")`: forms are timed in bf16, and the report shows what it costs."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.rewrite import Run
from convsmith.rewrite.lightening import clock as clocks
from convsmith.rewrite.lightening.clock import Clock
from convsmith.runtime import precision
from convsmith.runtime.precision import lacks_bf16

needs_bf16 = pytest.mark.skipif(bool(lacks_bf16()), reason=f"no bf16: {lacks_bf16()}")


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    ).eval()  # fmt: skip


@needs_bf16
def test_the_report_goes_on_to_bf16(counted: object) -> None:
    images = torch.rand(24, 3, 16, 16)
    seen: list[torch.Tensor] = []

    def evaluate(model: nn.Module) -> float:
        with torch.no_grad():
            seen.append(model(images))
        return float(seen[-1].argmax(1).float().mean())

    found = cs.lighten(
        _net(), images, multiplier=1, precision="bf16", run=Run(evaluate=evaluate, progress=False)
    )
    report, fast = found.report, cs.compile(found.model, images[:1], precision="bf16")
    assert report.narrow is not None and report.narrow.compiled is not None
    assert (report.narrow.params, report.narrow.macs) == (
        report.lightened.params,
        report.lightened.macs,
    )
    # Its accuracy is that of the network in bf16, and its error is to the original.
    assert torch.equal(seen[-1], fast(images))
    assert report.narrow.accuracy == float(seen[-1].argmax(1).float().mean())
    assert report.narrow.output_error == pytest.approx(report.lightened.output_error, rel=0.2)
    assert list(report.rows) == ["original", "lightened", "lightened, bf16"]
    assert "× in bf16" in str(report.table()) and "lightened, bf16" in report.to_html()
    assert report.to_dict()["narrow"]["compiled_ms"] > 0 and report.to_dict()["precision"] == "bf16"


@needs_bf16
def test_forms_are_timed_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile(*arguments: object, **options: object) -> object:
        compiled.append(cs.compile(*arguments, **options))  # type: ignore[arg-type]
        return compiled[-1]

    monkeypatch.setattr(clocks, "compile", compile)
    probe = Clock(precision="bf16").layer_probe(nn.Conv2d(32, 64, 3), (1, 32, 12, 12))
    assert probe() > 0
    (layer,) = (b for b in compiled[0].regions[0].blocks if b.name == "0")
    # As within a network, what it reads and writes is bf16.
    assert layer.numbers.word == "stp"
    with torch.no_grad():
        Clock(precision="bf16").runner(_net(), torch.rand(1, 3, 16, 16))()
    assert [each.precision for each in compiled] == ["bf16", "bf16"]


def test_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "lacks_bf16", lambda: "this processor lacks it")
    with pytest.raises(ArgumentError, match=r"^no bf16 here: this processor lacks it$"):
        cs.lighten(_net(), torch.rand(24, 3, 16, 16), precision="bf16")
