"""What a compiled network gives does not depend on torch's defaults at the time of the call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

import convsmith as cs


@contextmanager
def _dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("default", [torch.float64, torch.float16, torch.bfloat16, "meta"], ids=str)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [9, 700])  # memory of torch's, and of the room's own
def test_defaults(default: torch.dtype | str, last: bool, size: int) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    image = torch.randn(2, 3, size, size)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    fast = cs.compile(net, image, threads=1)
    expected, empty = fast(image), fast(image[:0])
    with torch.device(default) if isinstance(default, str) else _dtype(default):
        found, nothing = fast(image), fast(image[:0])
    assert found.dtype == nothing.dtype == torch.float32
    assert found.device == nothing.device == image.device
    assert torch.equal(found, expected)
    assert nothing.shape == empty.shape
