"""The same bits however the work is cut: threads, batches, bands, layouts of memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from convsmith.runtime.execution import bands, region
from tests.runtime.test_random_blocks import lively


class _Net(nn.Module):
    """A stem, an inverted bottleneck, a dilated separable one, a gate, a pool; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 19, 3, 2, 1), nn.BatchNorm2d(19), nn.ReLU6())
        self.inverted = nn.Sequential(
            nn.Conv2d(19, 53, 1), nn.BatchNorm2d(53), nn.SiLU(),
            nn.Conv2d(53, 53, (3, 5), padding=(1, 2), groups=53), nn.ReLU(), nn.Conv2d(53, 19, 1),
        )  # fmt: skip
        self.dilated = nn.Sequential(
            nn.Conv2d(19, 19, 3, padding=4, dilation=4, groups=19), nn.Conv2d(19, 37, 1), nn.Tanh()
        )
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(37, 37, 1), nn.Sigmoid())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(37, 10, 3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        x = self.dilated(x + self.inverted(x))
        return x, self.last(self.pool(x * self.gate(x)))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return lively(_Net())


SIZES = [(47, 61), (1, 33), (29, 1), (64, 64)]


def _same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize("size", SIZES)
def test_threads(net: nn.Module, isa: Isa, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    wanted = compile(net, image, isa=isa.name, threads=1)(image)
    for threads in (2, 3):
        fast = compile(net, image, isa=isa.name, threads=threads)
        for _ in range(3):
            assert _same(fast(image), wanted)


def test_batches(net: nn.Module, isa: Isa) -> None:
    images = torch.randn(5, 3, 31, 37)
    whole = compile(net, images, isa=isa.name, threads=2)(images)
    for count in (1, 2, 3):
        fast = compile(net, images[:count], isa=isa.name, threads=2)
        for start in range(0, 5 - count + 1):
            part = fast(images[start : start + count])
            assert _same(part, tuple(value[start : start + count] for value in whole))


@pytest.mark.parametrize("band_bytes", [1, 3000, 20_000, 10**9])
@pytest.mark.parametrize("size", SIZES)
def test_bands(
    net: nn.Module,
    isa: Isa,
    size: tuple[int, int],
    band_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = torch.randn(1, 3, *size)
    wanted = compile(net, image, isa=isa.name, threads=2)(image)
    counts: list[int] = []

    def plan(blocks: object, sizes: object, threads: int) -> bands.Plan:
        found = bands.plan(blocks, sizes, band_bytes, threads)  # type: ignore[arg-type]
        counts.append(len(found.bands))
        return found

    monkeypatch.setattr(region, "plan", plan)
    assert _same(compile(net, image, isa=isa.name, threads=2)(image), wanted)
    assert counts, "the plan of another size was not used"


def test_layouts_of_memory(net: nn.Module, isa: Isa) -> None:
    image = torch.randn(2, 3, 31, 37)
    wanted = compile(net, image, isa=isa.name)(image)
    fast = compile(net, image, isa=isa.name)
    wide = torch.randn(2, 3, 31, 74)
    wide[..., ::2] = image
    for given in (
        image.contiguous(memory_format=torch.channels_last),
        wide[..., ::2],
        image.transpose(2, 3).contiguous().transpose(2, 3),
        image.flip(0).contiguous().flip(0),
    ):
        assert torch.equal(given, image)
        assert _same(fast(given), wanted)


def test_empty_batch(net: nn.Module, isa: Isa) -> None:
    image = torch.randn(2, 3, 31, 37)
    fast = compile(net, image, isa=isa.name)
    found, wanted = fast(image[:0]), fast(image)
    assert [value.shape for value in found] == [(0, *value.shape[1:]) for value in wanted]
    assert _same(fast(image), wanted)
