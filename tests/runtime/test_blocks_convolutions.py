"""Convolutions in groups, with a multiplier, transposed, with large windows."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from convsmith.arithmetic import Window
from convsmith.kernels.isa import Isa
from convsmith.runtime.lowering.transposed import phases
from tests.runtime.oracle import agree, agree_on_faults, few, image, kinds
from tests.thoroughness import thinned

sides = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 23, 31])
channels = st.sampled_from([1, 2, 3, 5, 8, 13, 16, 17, 24, 33, 48])


@few
@given(st.data(), channels, st.integers(1, 4), channels, sides, sides)
def test_multiplier(
    isa: Isa, data: st.DataObject, inputs: int, multiplier: int, outputs: int, h: int, w: int
) -> None:
    kernel, stride, dilation = (data.draw(st.integers(1, n)) for n in (5, 3, 2))
    model = nn.Sequential(
        nn.Conv2d(
            inputs, inputs * multiplier, kernel, stride, dilation * (kernel // 2) + 1, dilation,
            groups=inputs,
        ),
        nn.ReLU6(),
        nn.Conv2d(inputs * multiplier, outputs, 1),
        nn.SiLU(),
    )  # fmt: skip
    compiled = agree(model, image(inputs, h, w), isa=isa.name, threads=2)
    if inputs > 1:
        assert kinds(compiled) == ["Input", "separable", "Output"]


@few
@given(
    st.data(), st.integers(2, 9), st.integers(1, 24), st.integers(1, 24), sides, sides,
    st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
def test_groups(
    isa: Isa, data: st.DataObject, groups: int, inputs: int, outputs: int, h: int, w: int,
    stride: int, dilation: int,
) -> None:  # fmt: skip
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    model = nn.Sequential(
        nn.Conv2d(
            groups * inputs, groups * outputs, kernel, stride, [dilation * n for n in kernel],
            dilation, groups=groups,
        ),
        nn.Hardswish(),
    )  # fmt: skip
    agree(model, image(groups * inputs, h, w), isa=isa.name, threads=1)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 12, 16, 24, 32])
def test_an_infinity_stays_in_its_group(isa: Isa, size: int) -> None:
    model = nn.Sequential(nn.Conv2d(4 * size, 4 * size, 3, padding=1, groups=4))
    given = image(4 * size, 9, 11)
    given[0, size, 4, 4], given[0, -1, 2, 7] = torch.inf, torch.nan
    agree_on_faults(model, given, isa=isa.name)


@few
@given(
    st.data(), channels, channels, sides, sides, st.booleans(),
    st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 3)] * 2),
)  # fmt: skip
def test_transposed(
    isa: Isa, data: st.DataObject, inputs: int, outputs: int, h: int, w: int, depthwise: bool,
    kernel: tuple[int, int], stride: tuple[int, int],
) -> None:  # fmt: skip
    dilation = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(data.draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation))
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    windows = [Window(k, s, (p, p), d) for k, s, p, d in zip(kernel, stride, padding, dilation)]
    assume(all(taps for window in windows for taps, _, _ in phases(window)))
    ends = zip((h, w), windows, extra)
    assume(all((n - 1) * v.stride - 2 * v.padding[0] + v.extent + e > 0 for n, v, e in ends))
    middle = inputs if depthwise else outputs
    model = nn.Sequential(
        nn.ConvTranspose2d(
            inputs, middle, kernel, stride, padding, extra, dilation=dilation,
            groups=inputs if depthwise else 1,
        ),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        *[nn.Conv2d(middle, outputs, 1)] * depthwise,
    )  # fmt: skip
    model[1].running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
    model[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    agree(model, image(inputs, h, w), isa=isa.name, threads=2)


@pytest.mark.parametrize("groups", [2, 4, 12])
def test_transposed_groups(isa: Isa, groups: int) -> None:
    model = nn.Sequential(nn.ConvTranspose2d(24, 36, 4, 2, 1, groups=groups), nn.GELU())
    agree(model, image(24, 9, 14), isa=isa.name)


def test_outputs_without_a_tap_are_left_to_torch() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 1, 2))
    compiled = agree(model, image(3, 5, 5), regions=0)
    assert "no tap" in " ".join(compiled.reasons.values())


@given(
    st.integers(1, 7), st.integers(1, 5), st.integers(0, 6), st.integers(1, 4), st.integers(1, 9)
)
def test_phases_place_every_tap_once(
    kernel: int, stride: int, low: int, dilation: int, length: int
) -> None:
    window = Window(kernel, stride, (low, low), dilation)
    expected = {
        (place * stride - low + tap * dilation, place, tap)
        for place in range(length)
        for tap in range(kernel)
    }
    found = {
        (q * stride + phase, q + begin + index * step, tap)
        for phase, (taps, step, begin) in enumerate(phases(window))
        for q in range(-50, 100)
        for index, tap in enumerate(taps)
        if 0 <= q + begin + index * step < length
    }
    assert found == expected


@pytest.mark.parametrize(
    ("kernel", "dilation"), [(31, 1), (13, 1), ((3, 51), 1), (9, 2), (7, 1), (3, 12)]
)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("fused", thinned([True, False], 2))
def test_large_windows(
    isa: Isa, kernel: int | tuple[int, int], dilation: int, stride: int, fused: bool
) -> None:
    def half(n: int) -> int:
        return n // 2 * dilation

    padding = half(kernel) if isinstance(kernel, int) else tuple(map(half, kernel))
    model = nn.Sequential(
        nn.Conv2d(20, 20, kernel, stride, padding, dilation, groups=20),
        *[nn.Conv2d(20, 12, 1)] * fused,
    )
    agree(model, image(20, 19, 33), isa=isa.name)
