"""Without a C compiler: the same bits through the JIT."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from convsmith.kernels.isa import Isa
from convsmith.kernels.jit import JitLibrary, open_library
from convsmith.kernels.library import Library, compiler
from convsmith.kernels.rows import RowSum
from convsmith.runtime import compile


@pytest.fixture
def _no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))  # no library that was opened before
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    compiler.cache_clear()
    yield
    compiler.cache_clear()


class _Net(nn.Module):
    """Every kind of kernel that has arguments of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 21, 3, 2, 1), nn.BatchNorm2d(21), nn.SiLU())
        self.deep = nn.Sequential(
            nn.Conv2d(21, 21, (5, 3), padding=(2, 1), groups=21),
            nn.ReLU6(),
            nn.Conv2d(21, 21, 1),
            nn.Conv2d(21, 21, 3, padding=2, dilation=2, groups=21),
            nn.GELU(),
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(21, 5, 1), nn.ReLU(), nn.Conv2d(5, 21, 1),
            nn.Hardsigmoid(),
        )  # fmt: skip
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(21, 7, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        x = x + self.deep(x)
        x = x * self.gate(x)
        return x, self.last(self.pool(x))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("_no_compiler")
def test_same_bits_as_machine_code(isa: Isa, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = _Net().eval(), torch.randn(2, 3, 23, 17)
    with pytest.warns(RuntimeWarning, match="no C compiler"):
        slow = compile(net, image, isa=isa.name, threads=threads)
    assert slow.regions
    assert all(isinstance(region.library, JitLibrary) for region in slow.regions)
    found = slow(image)
    monkeypatch.undo()
    compiler.cache_clear()
    fast = compile(net, image, isa=isa.name, threads=threads)
    assert not any(isinstance(region.library, JitLibrary) for region in fast.regions)
    for one, other in zip(found, fast(image)):
        assert torch.equal(one, other)
    with torch.no_grad():
        for one, other in zip(found, net(image)):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_no_compiler")
def test_opened(isa: Isa) -> None:
    with pytest.warns(RuntimeWarning, match="install gcc or clang, or set CC"):
        library = open_library(isa)
    seen: list[tuple[int, int, object]] = []
    library.prepare([RowSum()], lambda *step: seen.append(step))
    assert seen == [(1, 1, RowSum())]
    assert library.missing([RowSum()]) == []


def test_machine_code_where_there_is_a_compiler(isa: Isa) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(open_library(isa)) is Library
