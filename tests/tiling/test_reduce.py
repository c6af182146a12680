"""Reducers beside their definitions in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convsmith.tiling.reduce import largest_channel


@given(
    arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int32]),
        st.tuples(st.just(1), st.integers(1, 5), st.integers(0, 4), st.integers(1, 4)),
        elements=st.sampled_from([-1, 0, 1, 2]),  # many are equal
    )
)
def test_the_largest_channel_is_the_first_one(values):
    output = torch.from_numpy(values)
    assert torch.equal(largest_channel(output).long(), output.argmax(1))


@pytest.mark.parametrize("channels", [1, 255, 256, 257, 400])
def test_every_channel_has_a_number(channels):
    output = torch.randn(1, channels, 7, 9)
    found = largest_channel(output)
    assert torch.equal(found.long(), output.argmax(1))
    assert found.dtype is (torch.uint8 if channels < 256 else torch.uint16)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite(odd):
    output = torch.randn(1, 6, 5, 5)
    output[torch.rand(output.shape) < 0.3] = odd
    assert torch.equal(largest_channel(output).long(), output.argmax(1))
