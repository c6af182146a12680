"""Pools onto a map of a given size."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.kernels.isa import Isa
from tests.runtime.oracle import agree, agree_on_faults, few, image, kinds, with_faults

sides = st.integers(1, 23)
outputs = st.integers(1, 7)


@few
@given(st.booleans(), st.integers(1, 40), outputs, outputs, sides, sides, st.integers(1, 3))
def test_windows_cover_the_map(
    isa: Isa, largest: bool, channels: int, rows: int, columns: int, h: int, w: int, threads: int
) -> None:
    pool = (nn.AdaptiveMaxPool2d if largest else nn.AdaptiveAvgPool2d)((rows, columns))
    last = nn.Conv2d(channels, 5, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), pool, last)
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=threads)
    assert not [why for why in compiled.reasons.values() if "computed" not in why]


def test_any_size_after_the_first(isa: Isa) -> None:
    """Windows that happen to be equal at one size are not at another."""
    layers = [nn.Conv2d(3, 19, 1), nn.AdaptiveAvgPool2d((3, 4)), nn.Conv2d(19, 4, 1)]
    net = nn.Sequential(*layers).eval()
    compiled = agree(net, image(3, 6, 8), isa=isa.name)
    assert "AdaptivePool" in kinds(compiled)
    for size in ((7, 9), (3, 40), (2, 3)):
        x = image(3, *size)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), net(x))


def test_large_windows(isa: Isa) -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    agree(net, image(3, 403, 301) + 1, isa=isa.name)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveMaxPool2d((3, 2))])
def test_not_finite(isa: Isa, pool: nn.Module) -> None:
    images = with_faults(image(3, 8, 10), 0, 1, 3, 4)
    agree_on_faults(nn.Sequential(nn.Conv2d(3, 9, 1), pool), *images, isa=isa.name)
