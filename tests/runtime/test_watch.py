"""Weights are watched to their last byte, whatever their type, length and order of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.kernels.isa import choose_isa
from convsmith.kernels.watching import InPython
from convsmith.runtime.graph.watch import Watch

DTYPES = [
    torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8,
    torch.int16, torch.int64, torch.bool, torch.complex64,
]  # fmt: skip


@pytest.fixture(params=["in Python", "in C"])
def look(request: pytest.FixtureRequest) -> InPython:
    if request.param == "in Python":
        return InPython()
    pytest.importorskip("halide")
    from convsmith.kernels.jit import open_library

    isa = choose_isa()
    if isa is None:
        pytest.skip("no kernels for this processor")
    return open_library(isa).watching


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    """A tensor of few values or of several pieces, perhaps with gaps, beginning anywhere."""
    dtype = draw(st.sampled_from(DTYPES))
    length = draw(st.one_of(st.integers(1, 70), st.integers(1, 9000)))
    first, step = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    memory = torch.zeros(first + (length - 1) * step + 1 + draw(st.integers(0, 2)), dtype=dtype)
    return memory[first::step][:length]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it has no state
@given(tensors=st.lists(weights(), min_size=1, max_size=4), data=st.data())
def test_one_byte_of_one_value(look: InPython, tensors: list[Tensor], data: st.DataObject) -> None:
    watch = Watch(tensors, look)
    turns = len(watch.turns)
    assert not any(watch.changed for _ in range(turns))
    tensor = data.draw(st.sampled_from(tensors))
    place = data.draw(st.sampled_from([0, len(tensor) - 1, data.draw(st.integers(0, 8999))]))
    value = tensor[place % len(tensor)].reshape(1).view(torch.uint8).numpy()  # not counted
    value[data.draw(st.integers(0, len(value) - 1))] = 1
    assert any(watch.changed for _ in range(turns))
    assert watch.changed


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and strides of a view of 200 values."""
    dims = draw(st.integers(1, 4))
    return (
        tuple(draw(st.integers(1, 4)) for _ in range(dims)),
        tuple(draw(st.integers(0, 15)) for _ in range(dims)),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=views(), after=views(), others=st.integers(0, 12))
def test_another_view_of_the_same_memory(
    look: InPython, before: tuple[Any, Any], after: tuple[Any, Any], others: int
) -> None:
    memory = torch.zeros(200)
    weight = nn.Parameter(memory.as_strided(*before))
    watch = Watch([*(torch.zeros(2) for _ in range(others)), weight], look)
    weight.data = memory.as_strided(*after)  # not counted
    assert watch.changed == (before != after)
