"""Receptive fields of stacks against the gradient of the same stack in PyTorch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.explore.examples import STACKS
from convsmith.explore.live import fitting_size, stack_stage
from convsmith.explore.stack import MOST, StackLayer, chain, repair, stack_of, steps, written

numbers = st.integers(1, 3)
paddings = st.integers(0, 2)
layers = st.builds(
    StackLayer, st.sampled_from(["conv", "pool"]), numbers, numbers, numbers, paddings
).map(lambda part: part if part.kind != "pool" else StackLayer("pool", part.kernel, part.stride))
stacks = st.lists(layers, min_size=1, max_size=4).map(tuple)


@given(stacks)
def test_the_field_is_where_the_gradient_is(stack):
    modules = []
    for part in stack:
        if part.kind == "pool":
            modules.append(nn.AvgPool1d(part.kernel, part.stride))
        else:
            conv = nn.Conv1d(1, 1, part.kernel, part.stride, dilation=part.dilation, bias=False)
            nn.init.ones_(conv.weight)
            modules.append(conv)
    seen = chain(stack).receptive_field()
    image = torch.zeros(1, 1, seen.stop, requires_grad=True)
    nn.Sequential(*modules)(image)[0, 0, 0].backward()
    assert list(seen) == image.grad[0, 0].nonzero().ravel().tolist()
    assert steps(stack)[-1].seen == seen
    jump = 1
    for part in stack:
        jump *= part.stride
    assert steps(stack)[-1].jump == jump


@given(stacks)
def test_a_stack_is_read_as_it_is_written(stack):
    assert stack_of(written(stack)) == stack


@pytest.mark.parametrize(
    "text", ["", "x", "3d0", "0", "3s", "3-", "-".join(["3"] * (MOST + 1)), "٣"]
)
def test_what_is_no_stack_is_refused(text):
    with pytest.raises(ArgumentError):
        stack_of(text)


def test_the_fields_of_the_lesson():
    assert [len(step.seen) for step in steps(stack_of("3-3-3"))] == [3, 5, 7]
    assert [len(step.seen) for step in steps(stack_of("3-3d2-3d4"))] == [3, 7, 15]
    gridding = steps(stack_of("3d2-3d2-3d2"))[-1].seen
    assert (gridding.span, len(gridding)) == (13, 7)
    assert repair(stack_of("3d2-3d2-3d2")) == (1, 2, 3)
    for full in ("3-3d2-3d3", "3-3d2-3d5"):
        assert not steps(stack_of(full))[-1].seen.largest_gap
        assert repair(stack_of(full)) is None


def test_a_transposed_layer_undoes_the_jump():
    last = steps(stack_of("3s2-t2s2"))[-1]
    assert last.jump == 1 and steps(stack_of("t3s2"))[-1].jump is None


@given(stacks)
def test_the_input_that_fits_is_the_least_that_shows_a_whole_field_and_two_values(stack):
    modules = []
    for part in stack:
        if part.kind == "pool":
            modules.append(nn.AvgPool1d(part.kernel, part.stride))
        else:
            modules.append(
                nn.Conv1d(1, 1, part.kernel, part.stride, part.padding, part.dilation, bias=False)
            )
    network = nn.Sequential(*modules)
    span = chain(stack).receptive_field().span

    def values(size):
        try:
            return network(torch.zeros(1, 1, size)).shape[-1]
        except RuntimeError:
            return 0

    size = fitting_size(stack)
    assert size >= span and values(size) >= 2
    assert size == span or values(size - 1) < 2


def test_a_stack_is_shown_in_the_plane_or_along_a_line():
    assert repr(stack_stage(stack_of("3-3"))) == "Stage(6×6 → 4×4 → 2×2)"
    assert repr(stack_stage(stack_of("3d2p2-3d2p2"), 7)) == "Stage(7×7 → 7×7 → 7×7)"
    wavenet = stack_stage(stack_of(STACKS["wavenet"]))
    assert wavenet.size == (3071,) and len(wavenet.layers) == 30
    with pytest.raises(ArgumentError, match="no output"):
        stack_stage(stack_of("3-3"), 4)
    with pytest.raises(ArgumentError, match="too large"):
        stack_stage(stack_of("3d99-" * 29 + "3d99"))
