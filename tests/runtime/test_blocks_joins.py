"""Concatenation, upsampling, pools without their padding, padding layers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("halide")

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import convsmith as cs
from convsmith.kernels.isa import ISAS, Isa
from tests.runtime.oracle import agree, agree_on_faults, few, image, kinds

sides = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 23, 31])
widths = st.lists(st.sampled_from([1, 7, 16, 24, 32, 48, 80]), min_size=1, max_size=4)


class Branches(nn.Module):
    """Convolutions of one image, joined; readers with other borders than the branches'."""

    def __init__(self, inputs: int, widths: Sequence[int], shared: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, width, (1, 3, 5)[i % 3], padding=(0, 1, 2)[i % 3])
            for i, width in enumerate(widths)
        )
        self.shared = shared
        self.beside = nn.Conv2d(widths[0], 9, 5, padding=2)
        self.last = nn.Conv2d(sum(widths), 10, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        parts = [F.relu(branch(x)) for branch in self.branches]
        joined = torch.cat(parts, 1)
        if not self.shared:
            return (self.last(joined),)
        more = torch.cat([joined, parts[-1], joined], dim=-3)
        return self.last(joined), self.beside(parts[0]), self.pool(joined), more.relu()


class DenseBlock(nn.Module):
    """Each layer reads what all before it gave."""

    def __init__(self, growth: int, layers: int, listed: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.listed = listed
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 24, 1), nn.ReLU(),
                nn.Conv2d(24, growth, 3, padding=1),
            )
            for width in range(16, 16 + growth * layers, growth)
        )  # fmt: skip
        self.around = nn.Conv2d(16 + growth * layers, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        values = [self.stem(x)]
        for layer in self.layers:
            before = torch.cat(values, 1) if len(values) > 1 else values[0]
            values = [*(values if self.listed else [before]), layer(before)]
        return self.around(torch.cat(values, 1))


@few
@given(st.integers(1, 20), widths, st.booleans(), sides, sides)
def test_concat(isa: Isa, inputs: int, widths: list[int], shared: bool, h: int, w: int) -> None:
    agree(Branches(inputs, widths, shared), image(inputs, h, w), isa=isa.name, threads=2)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(("growth", "copies"), [(16, 0), (32, 0), (12, None)])
def test_dense_block_copies_nothing(
    isa: Isa, growth: int, copies: int | None, listed: bool
) -> None:
    compiled = agree(DenseBlock(growth, 5, listed), image(3, 21, 30), isa=isa.name, threads=2)
    if copies is not None:
        assert kinds(compiled).count("Copied") == copies


def test_an_infinity_stays_in_its_part(isa: Isa) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 10, 1, groups=2), nn.Conv2d(2, 16, 1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.a(x), self.b(x)], 1).relu()

    given = image(2, 6, 7)
    given[0, 0, 2, 3], given[0, 1, 4, 4] = torch.inf, torch.nan
    agree_on_faults(Parts(), given, isa=isa.name)


class Resized(nn.Module):
    """A convolution, an interpolation, a convolution."""

    def __init__(self, channels: int, **options: object) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 5, 3, padding=1)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.interpolate(self.before(x), **self.options))  # type: ignore[arg-type]


@few
@given(
    st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    st.booleans(),
    st.one_of(st.sampled_from([2.0, 3.0, 0.5]), st.floats(0.34, 4.1), st.tuples(sides, sides)),
    st.sampled_from([3, 16, 40]),
    st.sampled_from([3, 4, 7, 16, 23, 31]),
    st.sampled_from([3, 5, 8, 13, 40]),
)
def test_upsampling(
    isa: Isa, mode: str, corners: bool, by: float | tuple[int, int], channels: int, h: int, w: int
) -> None:
    options: dict[str, object] = {"size" if isinstance(by, tuple) else "scale_factor": by}
    if not mode.startswith("nearest"):
        options["align_corners"] = corners
    model = Resized(channels, mode=mode, **options)
    agree(model, image(3, h, w), isa=isa.name, threads=2)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_upsampling_keeps_nan_and_infinity_in_place(isa: Isa, mode: str) -> None:
    given = image(3, 8, 9)
    given[0, 0, 3, 4], given[0, 1, 7, 0] = torch.nan, torch.inf
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Upsample(scale_factor=2, mode=mode))
    agree_on_faults(model, given, isa=isa.name)


@few
@given(st.integers(1, 4), st.integers(1, 3), st.booleans(), sides, sides, st.data())
def test_average_without_padding(
    isa: Isa, kernel: int, stride: int, counted: bool, h: int, w: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(0, kernel // 2))
    h, w = max(h, kernel), max(w, kernel)
    pool = nn.AvgPool2d(kernel, stride, padding, count_include_pad=counted)
    agree(nn.Sequential(nn.Conv2d(3, 20, 1), pool), image(3, h, w), isa=isa.name, threads=2)


@few
@given(st.tuples(*[st.integers(0, 4)] * 4), sides, sides, st.integers(1, 3), st.booleans())
def test_zero_padding(
    isa: Isa, pads: tuple[int, int, int, int], h: int, w: int, stride: int, merged: bool
) -> None:
    after = nn.Conv2d(18, 6, 3, stride, 1) if merged else nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 18, 1), nn.ZeroPad2d(pads), after)
    compiled = agree(model, image(3, h, w), isa=isa.name, threads=2)
    assert kinds(compiled).count("Copied") == (not merged)


def test_a_value_behind_dropout_is_not_changed_for_its_other_reader(isa: Isa) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16)
            self.norm.running_mean.normal_()  # type: ignore[union-attr]
            self.drop, self.other = nn.Dropout(0.5), nn.Conv2d(16, 4, 3, padding=1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            value = self.conv(x)
            return self.norm(self.drop(value)), self.other(value)

    agree(Twice(), image(3, 9, 8), isa=isa.name)


class Two(nn.Module):
    """What is made of two maps, or of a map and a gate."""

    def __init__(self, made: str, channels: int) -> None:
        super().__init__()
        self.made = made
        self.first, self.second = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(3, channels, 1)
        self.gate, self.head = nn.Conv2d(3, 1, 3, padding=1), nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b, gate = self.first(x), torch.tanh(self.second(x)), torch.sigmoid(self.gate(x))
        return self.head({
            "product": a * b, "square": a * a, "difference": a - b, "turned": b - a,
            "pixels": gate * a, "both": (a - b) * gate * a.mean((2, 3), keepdim=True),
            "activated": torch.relu(a * b) - a,
        }[self.made])  # fmt: skip


MADE = ["product", "square", "difference", "turned", "pixels", "both", "activated"]


@pytest.mark.parametrize("made", MADE)
def test_products_and_differences(isa: Isa, made: str) -> None:
    # Both instruction sets together take each at every size.
    sizes = ((1, 5, 7), (16, 1, 9), (20, 13, 4), (37, 7, 6))
    turn = (MADE.index(made) + [*ISAS].index(isa.name)) % 2
    for channels, h, w in sizes[turn::2]:
        agree(Two(made, channels), image(3, h, w), isa=isa.name, threads=2)


SHAPES = [
    (), (1,), (9,), (5, 9), (8, 1, 1), (1, 5, 9), (8, 5, 9), (2, 8, 5, 9), (2, 1, 5, 9),
    (1, 1, 1, 1), (2, 8, 1, 1), (1, 8, 5, 9), (2, 8, 5, 1), (2, 8, 1, 9), (2, 1, 1, 1),
    (3, 2, 8, 5, 9),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_map_and_an_input_of_any_shape(isa: Isa, shape: tuple[int, ...]) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            x = self.conv(x)
            return x + y, x - y, y - x, x * y, y * x, x / y

    net = Pair().eval()
    inputs = torch.randn(2, 3, 5, 9), torch.rand(shape) + 1
    fast = cs.compile(net, inputs, isa=isa.name)
    for mine, theirs in zip(fast(*inputs), net(*inputs), strict=True):
        assert mine.shape == theirs.shape
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-5)
