"""A compiled network under every state of torch that a caller may have set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from tests.runtime.test_defaults_of_torch import _dtype


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _autocast() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


STATES = {
    "float64": lambda: _dtype(torch.float64),
    "float16": lambda: _dtype(torch.float16),
    "bfloat16": lambda: _dtype(torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "inference": torch.inference_mode,
    "gradients": torch.enable_grad,
    "deterministic": _deterministic,
    "autocast": _autocast,
}


class Mixed(nn.Module):
    """Regions with torch between them, and tensors that are created on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.line = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.line(self.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        ramp = torch.arange(x.shape[3]) / 7 + torch.ones(1) * torch.linspace(0, 1, x.shape[3])
        return self.b(x + ramp + torch.full((1,), 0.5))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("threads", [1, 2])
def test_states(state: str, threads: int) -> None:
    net = Mixed().eval()
    image = torch.randn(2, 3, 9, 11)
    fast = cs.compile(net, image, threads=threads)
    assert fast.regions
    if "float" in state:
        fast(image[:0])  # what is captured anew has the types that eager then has
    with torch.no_grad():
        expected = net(image)
    with STATES[state]():
        found, empty = fast(image), fast(image[:0])
        again = fast(image)
    if state == "autocast":
        with torch.no_grad(), _autocast():
            expected = net(image)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected)
        return
    assert found.dtype == empty.dtype == torch.float32
    assert found.device == image.device
    assert empty.shape == (0, 8, 9, 11)
    assert torch.equal(found, again)
    assert not found.requires_grad
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("state", [name for name in STATES if name != "meta"])
def test_compiled_within(state: str) -> None:
    """What is compiled, or renewed, in a state serves outside of it as well."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    image = torch.randn(1, 3, 9, 9)
    with STATES[state]():
        fast = cs.compile(net, image, threads=1)
    with torch.no_grad():
        assert torch.allclose(fast(image), net(image), atol=1e-5)
        with STATES[state]():
            net[0] = nn.Conv2d(3, 8, 3, padding=1).float()
            fast(image)
            fast(torch.randn(2, 3, 5, 7, dtype=torch.float32))
        assert torch.allclose(fast(image), net(image), atol=1e-5)
        assert fast(image).dtype == torch.float32
    assert fast.regions
