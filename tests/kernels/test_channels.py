"""Kernels over the channels of each pixel, by themselves: largest ones, their numbers, shares."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from convsmith.kernels.isa import BLOCK, ISAS, Isa
from convsmith.kernels.kernel import Kernel, target
from convsmith.kernels.largest import ChannelArgMax, ChannelMax
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.mean import LargestChannel, LargestPlace
from convsmith.runtime.lowering.softmax import Shares
from tests.thoroughness import examples, thinned

hl = pytest.importorskip("halide")

few = examples(200, 60, suppress_health_check=[HealthCheck.function_scoped_fixture])
SPECIAL = np.array(
    [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0, 0x80000000, 1,
     0x80000001, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0xBF800000], np.uint32,
).view(np.float32)  # fmt: skip
"""NaN of both signs, quiet and signalling, infinities, zeros, the smallest and largest numbers."""


@cache
def _function(kernel: Kernel, isa: str) -> Any:
    function, arguments = kernel.pipeline(ISAS[isa])
    return function.compile_to_callable(arguments, target(ISAS[isa]))


def _run(kernel: Kernel, isa: Isa, values: torch.Tensor, outputs: int) -> torch.Tensor:
    """What a kernel makes of (pixels, channels), of which it writes so many channels."""
    pixels, channels = values.shape
    pitch = -(-channels // BLOCK) * BLOCK
    held = np.full((1, pixels, pitch), np.nan, np.float32)  # what is beyond the channels is ignored
    held[0, :, :channels] = values.numpy()
    result = np.zeros((1, pixels, outputs), np.float32)
    _function(kernel, isa.name)(hl.Buffer(held), 1, 0, channels, hl.Buffer(result))
    return torch.from_numpy(result[0])


@st.composite
def _pixels(draw: st.DrawFn) -> torch.Tensor:
    """Some pixels of some channels, of a few different values, so that several are the largest."""
    channels, pixels = draw(st.integers(1, 70)), draw(st.integers(1, 17))
    kinds = draw(st.lists(st.sampled_from(SPECIAL.tolist()) | st.floats(width=32), min_size=1))
    source = np.random.default_rng(draw(st.integers(0, 2**31)))
    # As bits, for a NaN that goes through a float of Python may come back as another one.
    chosen = np.concatenate([np.array(kinds, np.float32), SPECIAL[: draw(st.integers(0, 15))]])
    return torch.from_numpy(source.choice(chosen, (pixels, channels)))


def _of(block: type[Block], isa: Isa, values: torch.Tensor) -> Kernel:
    pixels, channels = values.shape
    source = Map("source", channels)
    return block("block", [source], Map("target", channels)).kernel(isa, pixels)


@few
@given(values=_pixels())
def test_largest_channel_and_its_number(isa: Isa, values: torch.Tensor) -> None:
    largest, place = (_of(block, isa, values) for block in (LargestChannel, LargestPlace))
    assert isinstance(largest, ChannelMax)
    assert isinstance(place, ChannelArgMax)
    wanted = values.amax(1, keepdim=True)
    torch.testing.assert_close(
        _run(largest, isa, values, 1), wanted, equal_nan=True, rtol=0, atol=0
    )
    assert torch.equal(_run(place, isa, values, 1).long(), values.argmax(1, keepdim=True))


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("channels", thinned([1, 2, 4, 5, 8, 9, 17, 21, 24, 33, 66, 600, 1025]))
@pytest.mark.parametrize("pixels", thinned([1, 3, 8, 13]))
def test_shares(isa: Isa, channels: int, pixels: int, logarithm: bool) -> None:
    source = torch.Generator().manual_seed(channels)
    sizes = torch.logspace(-3, 2.5, pixels).flip(0)[:, None]
    values = sizes * torch.randn(pixels, channels, generator=source)
    block = Shares("block", [Map("s", channels)], Map("t", channels), logarithm=logarithm)
    outputs = -(-channels // BLOCK) * BLOCK
    found = _run(block.kernel(isa, pixels), isa, values, outputs)[:, :channels]
    function = torch.log_softmax if logarithm else torch.softmax
    exact, eager = function(values.double(), 1), function(values, 1)
    mine, usual = (found - exact).abs(), (eager - exact).abs()
    # A logarithm is a difference of the values, each of which is rounded.
    size = exact.abs() + (values.abs().amax(1, keepdim=True) if logarithm else 0)
    few = torch.finfo(torch.float32).eps * size + torch.finfo(torch.float32).tiny
    assert (mine <= torch.maximum(2 * usual, 8 * few)).all()
    assert mine.norm() <= 2 * usual.norm() + few.norm() / 4


@few
@given(values=_pixels(), logarithm=st.booleans())
def test_shares_of_what_is_not_finite(isa: Isa, values: torch.Tensor, logarithm: bool) -> None:
    channels = values.shape[1]
    block = Shares("block", [Map("s", channels)], Map("t", channels), logarithm=logarithm)
    outputs = -(-channels // BLOCK) * BLOCK
    found = _run(block.kernel(isa, len(values)), isa, values, outputs)[:, :channels]
    wanted = torch.log_softmax(values, 1) if logarithm else torch.softmax(values, 1)
    tiny = torch.finfo(torch.float32).tiny
    torch.testing.assert_close(found, wanted, equal_nan=True, rtol=1e-5, atol=2 * tiny)
