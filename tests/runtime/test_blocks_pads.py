"""Pixels around a map that are not zeros, and maps without their outer pixels."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.errors import ArgumentError
from convsmith.kernels.isa import Isa
from convsmith.runtime import compile
from tests.runtime.oracle import agree, agree_on_faults, few, image, kinds
from tests.thoroughness import thinned

MODES = ("constant", "reflect", "replicate", "circular")


class Padded(nn.Module):
    """A convolution, a pad, and what reads it."""

    def __init__(self, channels: int, sides: tuple[int, ...], mode: str, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, channels, 3, padding=1), last
        self.sides, self.mode = sides, mode

    def forward(self, x: Tensor) -> Tensor:
        """The value of `last`, which may be a pool."""
        value = 0.5 if self.mode == "constant" else None
        return self.last(F.pad(self.conv(x), self.sides, self.mode, value))


@pytest.mark.parametrize("mode", MODES)
@settings(few)
@given(st.data())
def test_any_sides(isa: Isa, mode: str, data: st.DataObject) -> None:
    h, w = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    sides = tuple(
        data.draw(st.integers(
            0 if mode == "circular" else -((n - 1) // 2), min(n - (mode == "reflect"), 4)
        ))
        for n in (w, w, h, h)
    )  # fmt: skip
    channels = data.draw(st.integers(1, 40))
    tall, wide = h + sum(sides[2:]), w + sum(sides[:2])
    fits = min(tall, wide) >= 3
    last = {
        "conv": nn.Conv2d(channels, 5, 3 if fits else 1),
        "padded": nn.Conv2d(channels, 5, 3, padding=1),
        "max": nn.MaxPool2d(3 if fits else 1, 2, 1 if fits else 0),
        "mean": nn.AdaptiveAvgPool2d(1),
        "nothing": nn.Identity(),
    }[data.draw(st.sampled_from(["conv", "padded", "max", "mean", "nothing"]))]
    net = Padded(channels, sides, mode, last)
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=data.draw(st.integers(1, 3)))
    assert not [why for why in compiled.reasons.values() if "computed" not in why]


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_convolutions_that_pad(isa: Isa, mode: str) -> None:
    layers = [
        nn.Conv2d(3, 20, 5, 2, 2, padding_mode=mode),
        nn.ReLU(),
        nn.Conv2d(20, 20, 3, padding=(2, 1), dilation=(2, 1), groups=20, padding_mode=mode),
        nn.Conv2d(20, 7, 1),
    ]
    compiled = agree(nn.Sequential(*layers), image(3, 33, 29), isa=isa.name, threads=2)
    assert kinds(compiled).count("Bordered") == 2 * (mode != "zeros")
    for size in ((41, 17), (9, 60)):  # a pad is that of the size at hand
        x = image(3, *size)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), nn.Sequential(*layers)(x))


def test_only_the_rows_near_a_mirrored_border_are_kept(isa: Isa) -> None:
    """Bands stream through mirrored and repeated borders; opposite ones need the whole map."""
    memory = {}
    for mode in MODES[1:]:
        layers = [nn.Conv2d(8, 8, 3, padding=1, padding_mode=mode) for _ in range(3)]
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers).eval()
        (region,) = compile(net, torch.zeros(1, 3, 512, 64), isa=isa.name).regions
        memory[mode] = region.order([(512, 64)]).memory
    assert 4 * max(memory["reflect"], memory["replicate"]) < memory["circular"]


def test_outer_pixels_are_cut(isa: Isa) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 19, 3), nn.Conv2d(3, 19, 1)

        def forward(self, x: Tensor) -> Tensor:
            """A convolution without padding, and the values in the middle, as U-Nets add them."""
            return self.one(x) + self.other(x)[:, :, 1:-1, 1:-1] * 2

    compiled = agree(Cut(), image(3, 17, 12), isa=isa.name)
    assert kinds(compiled).count("EveryFew") == 1


class Sliced(nn.Module):
    """Slices of rows and pixels, one after the other, which may be read in between."""

    def __init__(self, channels: int, slices: list[tuple[slice, slice]], seen: bool) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 5, 1)
        self.slices, self.seen = slices, seen

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x, found = self.conv(x), []
        for rows, columns in self.slices:
            x = x[:, :, rows, columns]
            found += [x * 2] if self.seen else []
        return (self.last(x), x, *found)


@settings(few, max_examples=12)
@given(st.data())
def test_every_few_rows_and_pixels(isa: Isa, data: st.DataObject) -> None:
    size = h, w = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    slices = []
    for _ in range(data.draw(st.integers(1, 3))):
        both = []
        for n in size:
            start, end = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
            stop = -end if 0 < end < n - start else None
            both.append(slice(start, stop, data.draw(st.integers(1, 4))))
        slices.append((both[0], both[1]))
        size = tuple(len(range(n)[some]) for n, some in zip(size, both, strict=True))  # type: ignore[assignment]
    net = Sliced(data.draw(st.integers(1, 40)), slices, data.draw(st.booleans()))
    compiled = agree(net, image(3, h, w), isa=isa.name, threads=data.draw(st.integers(1, 3)))
    assert not compiled.reasons
    # Other sizes have other ends.
    larger = image(3, h + 7, w + 5)
    with torch.no_grad():
        for mine, theirs in zip(compiled(larger), net(larger), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


class Focus(nn.Module):
    """The pixels of each square as channels, written as slices (YOLOv5)."""

    def __init__(self, channels: int, stem: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1) if stem else nn.Identity()
        self.conv = nn.Conv2d(4 * (channels if stem else 3), 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        return self.conv(torch.cat(parts, 1))


@few
@given(st.sampled_from([1, 3, 16, 20, 48]), st.booleans(), st.integers(1, 15), st.integers(1, 15))
def test_pixels_of_squares_as_slices(isa: Isa, channels: int, stem: bool, h: int, w: int) -> None:
    compiled = agree(Focus(channels, stem), image(3, 2 * h, 2 * w), isa=isa.name, threads=2)
    assert not compiled.reasons
    assert kinds(compiled).count("EveryFew") == 4


def test_a_slice_that_leaves_nothing(isa: Isa) -> None:
    net = Sliced(4, [(slice(5, None, 2), slice(0, None))], seen=False).eval()
    compiled = compile(net, image(3, 9, 8), isa=isa.name)
    with pytest.raises(ArgumentError, match="does not take 1×3×5×8"):
        compiled(torch.zeros(1, 3, 5, 8))


def test_a_slice_up_to_a_place_is_left_to_torch(isa: Isa) -> None:
    net = Sliced(4, [(slice(0, 6, 2), slice(0, None))], seen=False).eval()
    compiled = agree(net, image(3, 9, 8), regions=None, isa=isa.name)
    assert any("more at some sizes" in why for why in compiled.reasons.values())


def test_slices_of_what_is_not_finite(isa: Isa) -> None:
    x = image(3, 8, 10)
    x[0, 1, 3, 4], x[0, 2, 6, 6] = torch.nan, torch.inf
    agree_on_faults(Focus(16, stem=True), x, isa=isa.name)


@pytest.mark.parametrize("place", thinned([((0, 0),), ((7, 9),), ((3, 4),)]))
@pytest.mark.parametrize("mode", MODES)
def test_not_finite(isa: Isa, mode: str, place: tuple[int, int]) -> None:
    x = image(3, 8, 10)
    x[0, 1, place[0], place[1]] = torch.nan
    net = Padded(9, (2, 3, 1, 2), mode, nn.MaxPool2d(1))
    agree_on_faults(net, x, isa=isa.name)
