"""A call of `lighten` traces each network once, and hands on what it has read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.rewrite import Run, Timing
from convsmith.rewrite.lightening import clock as clock_module
from convsmith.rewrite.lightening.clock import Clock
from tests.rewrite.fakes import chain, labelled, pictures

PYTORCH = Timing(compiled=False)


@pytest.fixture
def exports(monkeypatch):
    """How often a program was exported."""
    export, calls = torch.export.export, []

    def counting(*arguments, **options):
        calls.append(arguments[0])
        return export(*arguments, **options)

    monkeypatch.setattr(torch.export, "export", counting)
    return calls


@pytest.mark.parametrize(
    "target", [{"speedup": 1.6}, {"latency_ms": 3.0}, {"macs": 0.6}, {"multiplier": 1}]
)
def test_the_original_is_exported_once(counted, exports, target):
    light = cs.lighten(chain(), pictures(), timing=PYTORCH, **target)
    assert light.report.original.macs and light.report.lightened.macs
    assert len(exports) == 2, "the original, and what it became"


def test_a_sweep_exports_no_more(counted, exports):
    cs.lighten(chain(), pictures(), 1.6, timing=PYTORCH, run=Run(sweep=True))
    assert len(exports) == 2


def test_a_control_is_one_more(counted, exports):
    images = pictures()
    cs.lighten(chain(), images, 1.6, timing=PYTORCH, train=labelled(images), epochs=1)
    assert len(exports) == 3


def test_what_dilate_has_traced_is_not_traced_again(counted, exports):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3)).eval()
    cs.lighten(model, pictures(size=9), multiplier=1, output_stride=1, timing=PYTORCH)
    assert len(exports) == 3, "the original, what it was dilated to, and what that became"


def test_a_network_that_is_kept_is_compiled_once(monkeypatch):
    made = []

    def compiling(model, image, threads, precision):
        made.append(model)
        return model

    monkeypatch.setattr(clock_module, "compile", compiling)
    monkeypatch.setattr(clock_module, "_kernels", lambda: True)
    clock, model, other = Clock(), chain(), chain()
    clock.keep(model)
    image = pictures(2)
    for _ in range(3):
        clock.runner(model, image)()
        clock.runner(other, image)()
    assert [sum(x is net for x in made) for net in (model, other)] == [1, 3]
    clock.runner(model, image[:1])()
    assert sum(x is model for x in made) == 2, "another size is another program"
