"""`profile`: one row per block, the figures consistent with each other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith import runtime


@pytest.fixture(scope="module")
def report():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        nn.Conv2d(16, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip
    return cs.compile(model.eval(), (2, 3, 32, 40), threads=1).profile(rounds=3)


def test_rows(report):
    kinds = [block.kernel for block in report.blocks]
    assert kinds == [
        "pack", "dense", "separable", "mean", "mean", "unpack", "torch", "torch"
    ]  # fmt: skip
    dense, separable = report.blocks[1:3]
    assert dense.layers == ("0", "1")
    assert dense.size == (16, 16, 20)
    assert dense.macs == 2 * 16 * 20 * 16 * 3 * 9
    assert separable.size == (24, 16, 20)
    assert separable.macs == 2 * 16 * 20 * (16 * 9 + 16 * 24)
    assert [bool(block.why) for block in report.blocks] == [False] * 6 + [True] * 2


def test_figures(report):
    for block in report.blocks:
        assert block.ms > 0
        if block.macs:
            assert block.gflops == pytest.approx(2e-6 * block.macs / block.ms)
            assert block.peak == pytest.approx(block.gflops / report.peak_gflops)
            assert block.nbytes >= 4 * 16 * 20
    assert report.total_ms == pytest.approx(sum(block.ms for block in report.blocks))
    assert report.threads == 1


def test_forms(report):
    assert "separable" in str(report.table())
    assert "sum" in str(report.table())
    assert len(report.to_dict()["blocks"]) == len(report.to_pandas()) == len(report.blocks)
    assert "<table" in report._repr_html_()
    assert repr(report).startswith("Profile(Sequential: 8 blocks")


def test_other_inputs_and_nothing_to_fuse():
    fast = cs.compile(nn.Linear(4, 5).eval(), (3, 4))
    assert [block.kernel for block in fast.profile(rounds=1).blocks] == ["torch"]
    fast = cs.compile(nn.Conv2d(3, 4, 3).eval(), (1, 3, 9, 9))
    sizes = [block.size for block in fast.profile(torch.zeros(4, 3, 20, 30), rounds=1).blocks]
    assert sizes == [(3, 20, 30), (4, 18, 28), (4, 18, 28)]


def test_every_block_has_a_name():
    class Every(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.gate = nn.ConvTranspose2d(3, 16, 2, 2), nn.Conv2d(16, 16, 1)

        def forward(self, x):
            x = self.up(x)
            x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
            x = torch.cat(
                [nn.functional.pad(x, (1, 1, 1, 1)), nn.functional.pad(x, (2, 0, 2, 0))], 1
            )
            y = nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            return nn.functional.interpolate(y, scale_factor=2.0), nn.functional.max_pool2d(x, 2)

    blocks = cs.compile(Every().eval(), (1, 3, 9, 9), threads=1).profile(rounds=1).blocks
    assert {block.kernel for block in blocks} == {
        "pack", "dense", "mean", "pointwise", "scaled", "copied", "averagepool", "upsampled",
        "pool", "unpack",
    }  # fmt: skip


def test_the_old_names_warn_or_still_work():
    fast = cs.compile(nn.Conv2d(3, 4, 3).eval(), (1, 3, 9, 9))
    with pytest.warns(DeprecationWarning, match=r"now called profile\(\)"):
        profile = fast.plan(rounds=1)
    assert isinstance(profile, runtime.Profile)
    assert runtime.Report is runtime.Profile
