"""Inputs and outputs of a region each have their own shape, the batch included."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import convsmith as cs
from convsmith.kernels.isa import Isa
from convsmith.runtime.execution.unfit import UnfitError
from tests.runtime.oracle import few

KINDS = ("views", "siamese", "pyramid", "one map for all", "shared trunk", "vectors")


class Several(nn.Module):
    """Two convolutions, and what is put around them for inputs of unequal batch or size."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.c, self.line = nn.Conv2d(8, 8, 1), nn.Linear(8, 20)
        self.wide = nn.Linear(20, 8)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        if self.kind == "views":
            return self.a(x), self.b(y)
        if self.kind == "siamese":
            one, other = torch.relu(self.a(x)), torch.relu(self.a(y))
            return one.mean((2, 3))[:, None] * other.mean((2, 3))[None], self.c(one), self.c(other)
        if self.kind == "pyramid":
            half = nn.functional.max_pool2d(x, 2)
            return self.a(x), self.a(half), self.c(self.b(y))
        if self.kind == "one map for all":
            return self.a(x) + self.b(y[:1]), torch.relu(self.b(y[:1]))
        if self.kind == "shared trunk":
            trunk = torch.relu(self.a(torch.cat([x, y])))
            return self.c(trunk[: len(x)]), self.c(trunk[len(x) :]) * 2, trunk
        one, other = self.a(x).mean((2, 3)), self.b(y).mean((2, 3))
        return self.wide(torch.relu(self.line(one))), self.wide(self.line(other)), self.c(self.a(x))


def _check(fast: Any, net: nn.Module, inputs: list[Tensor]) -> None:
    with torch.no_grad():
        eager = net(*inputs)
        exact = copy.deepcopy(net).double()(*[t.double() for t in inputs])
    for found, theirs, true in zip(fast(*inputs), eager, exact, strict=True):
        assert found.shape == true.shape
        if true.numel():
            usual = (theirs - true).abs().max()
            assert (found - true).abs().max() <= 2 * usual + 1e-6 * (1 + true.abs().max())


@few
@given(
    kind=st.sampled_from(KINDS),
    batches=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=3, max_size=3),
    sizes=st.lists(st.tuples(st.integers(2, 12), st.integers(2, 12)), min_size=3, max_size=3),
    last=st.booleans(),
    threads=st.sampled_from([1, 2]),
)
def test_unequal_batches(
    isa: Isa,
    kind: str,
    batches: list[tuple[int, int]],
    sizes: list[tuple[int, int]],
    last: bool,
    threads: int,
) -> None:
    net, fast = Several(kind).eval(), None
    for (one, other), (rows, pixels) in zip(batches, sizes, strict=True):
        same = kind in ("one map for all", "shared trunk")
        size = (rows, pixels) if same else (pixels, rows)
        inputs = [torch.randn(one, 3, rows, pixels), torch.randn(other, 3, *size)]
        if last:
            inputs[1] = inputs[1].contiguous(memory_format=torch.channels_last)
        if fast is None:
            fast = cs.compile(net, tuple(inputs), isa=isa.name, threads=threads)
        _check(fast, net, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_that_were_equal(kind: str) -> None:
    """An example whose batches are equal says nothing about later ones."""
    net = Several(kind).eval()
    example = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    fast = cs.compile(net, example, threads=1)
    for one, other in ((1, 1), (3, 1), (2, 5), (1, 4), (4, 4)):
        _check(fast, net, [torch.randn(one, 3, 8, 8), torch.randn(other, 3, 8, 8)])


def test_regions_check_what_they_get() -> None:
    net = Several("views").eval()
    example = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    fast = cs.compile(net, example, threads=1)
    (region,) = fast.regions
    image = torch.randn(2, 3, 8, 8)
    region(image, image)
    for wrong in (
        image[:1],  # another batch
        image[:, :2],  # fewer channels
        image.double(),
        image.bfloat16(),
        image[0],
    ):
        with pytest.raises(UnfitError):
            region(image, wrong)


def test_negative_bit() -> None:
    """A tensor may hold the negative of its values: an imaginary part of a conjugate does."""
    net = nn.Conv2d(3, 4, 3).eval()
    image = torch.randn(2, 3, 9, 9, dtype=torch.complex64).conj().imag
    assert image.is_neg()
    fast = cs.compile(net, (2, 3, 9, 9), threads=1)
    assert torch.allclose(fast(image), net(image), atol=1e-5)
    for strange in (
        torch.randn(1, 3, 9, 9).expand(2, 3, 9, 9),
        torch.randn(2, 9, 9, 3).permute(0, 3, 1, 2)[:, :, ::2, ::2],
        torch.randn(2, 6, 9, 9)[:, ::2],
    ):
        assert torch.allclose(fast(strange), net(strange), atol=1e-5)


def test_an_empty_batch_first() -> None:
    net = nn.Conv2d(3, 8, 3).eval()
    fast = cs.compile(net, torch.randn(0, 3, 16, 16), threads=1)
    assert not fast.regions
    assert fast(torch.randn(0, 3, 12, 12)).shape == (0, 8, 10, 10)
    image = torch.randn(1, 3, 16, 16)
    assert torch.allclose(fast(image), net(image), atol=1e-5)
    assert len(fast.regions) == 1
    assert fast(torch.randn(0, 3, 16, 16)).shape == (0, 8, 14, 14)


class _Turned(nn.Module):
    """The rows of one input are the channels of a region's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shift = nn.Conv2d(4, 16, 1), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        turned = self.shift + x.movedim(1, -1)
        return self.conv(y), torch.cat([turned, -turned], -1)


def test_an_empty_batch_of_another_size() -> None:
    """What no region takes is refused for no images as for some."""
    net = _Turned().eval()
    fast = cs.compile(net, (torch.randn(2, 8, 12, 9), torch.randn(2, 4, 9, 5)), threads=1)
    for images in (2, 0):
        for size, other in (((12, 9), (9, 5)), ((4, 8), (10, 5)), ((12, 9), (3, 3))):
            given = torch.randn(images, 8, *size), torch.randn(images, 4, *other)
            with torch.no_grad():
                right = net(*given)
            for mine, wanted in zip(fast(*given), right, strict=True):
                assert mine.shape == wanted.shape
                assert torch.allclose(mine, wanted, atol=1e-5)
