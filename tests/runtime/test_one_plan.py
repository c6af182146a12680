"""Bands are planned once for a size of image."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
from torch import nn

import convsmith as cs
from convsmith.runtime.execution import bands, region


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, int]]:
    """The sizes and threads of each plan that was made."""
    made: list[tuple[object, int]] = []

    def plan(blocks: object, sizes: object, threads: int) -> bands.Plan:
        made.append((tuple(sizes), threads))  # type: ignore[arg-type]
        return bands.plan(blocks, sizes, threads=threads)  # type: ignore[arg-type]

    monkeypatch.setattr(region, "plan", plan)
    return made


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


@pytest.mark.parametrize("threads", [1, 2])
def test_compile_and_calls_share_a_plan(plans: list[tuple[object, int]], threads: int) -> None:
    image = torch.randn(1, 3, 20, 30)
    fast = cs.compile(_net(), image, threads=threads)
    for given in (image, image.contiguous(memory_format=torch.channels_last), image[:0]):
        fast(given)
    assert plans == [(((20, 30),), threads)]
    fast(torch.randn(1, 3, 31, 17))
    assert plans[1:] == [(((31, 17),), threads)]


def test_a_batch_adds_the_plan_of_one_thread(plans: list[tuple[object, int]]) -> None:
    image = torch.randn(3, 3, 20, 30)
    fast = cs.compile(_net(), image, threads=2)
    for _ in range(3):
        fast(image)
    assert sorted(plans) == [(((20, 30),), 1), (((20, 30),), 2)]


def test_plans_are_not_kept_for_ever(plans: list[tuple[object, int]]) -> None:
    fast = cs.compile(_net(), (1, 3, 20, 30), threads=1)
    for width in range(10, 60):
        fast(torch.randn(1, 3, 9, width))
    (only,) = fast.regions
    assert len(only._plans) <= region._PROGRAMS
    assert len(plans) == 51
