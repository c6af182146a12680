"""Regions of one network: which layers they have, and that they may feed each other."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("halide")

import torch
from torch import Tensor, nn

import convsmith as cs

# The function of this name hides the module.
room = importlib.import_module("convsmith.runtime.graph.partition")


class Around(nn.Module):
    """A path around torch: no region can hold both convolutions, and one reads the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.dead = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.dead(x)
        return self.b(x) + torch.softmax(x, 2)


@pytest.mark.parametrize("order", [list, lambda found: list(found)[::-1]], ids=["", "reversed"])
def test_a_region_reads_another(
    order: Callable[[Iterator[Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = room._candidates
    monkeypatch.setattr(room, "_candidates", lambda *args: order(candidates(*args)))
    net, image = Around().eval(), torch.randn(2, 3, 9, 7)
    fast = cs.compile(net, image, threads=1)
    assert len(fast.regions) == 2
    assert torch.allclose(fast(image), net(image), atol=1e-5)


def test_what_nothing_reads_is_not_computed() -> None:
    fast = cs.compile(Around().eval(), (2, 3, 9, 7), threads=1)
    names = [block.name for region in fast.regions for block in region.blocks]
    assert "dead" not in names
    assert "dead" not in fast.reasons
