"""How often the stamps of a transposed convolution cover each output."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convsmith.explore.live import overlap_stage


@pytest.mark.parametrize("kernel", range(1, 7))
@pytest.mark.parametrize("stride", range(1, 5))
def test_the_counts_are_torchs_and_even_where_the_stride_divides_the_kernel(kernel, stride):
    (counts,) = overlap_stage(kernel, stride).maps()[1]
    ones = torch.ones(1, 1, kernel, kernel)
    expected = F.conv_transpose2d(torch.ones(1, 1, 4, 4), ones, stride=stride)
    assert counts == expected[0, 0].int().tolist()
    inner = F.conv_transpose2d(torch.ones(1, 1, 12, 12), ones, stride=stride)[0, 0]
    inner = inner[kernel:-kernel, kernel:-kernel]
    assert (len(inner.unique()) == 1) == (kernel % stride == 0)
