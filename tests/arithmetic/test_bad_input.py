"""What cannot be is refused in one line that names it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool, Window, evaluate, im2col
from convsmith.errors import ArgumentError

CASES = [
    (lambda: Conv(3, 8, 0), "kernel_size must be an integer of at least 1, not 0"),
    (lambda: Conv(3, 8, 2.5), "kernel_size must be an integer, not 2.5"),
    (lambda: Conv(True, 8, 3), "in_channels must be an integer of at least 1, not True"),
    (lambda: Conv(3, 8, (3, 3), stride=(1, 1, 1)), "number of axes is not one"),
    (lambda: Conv(3, 8, (3,) * 4), "1, 2 or 3 spatial axes, not 4"),
    (lambda: Conv(3, 8, 3, padding="smae"), "did you mean 'same'"),
    (lambda: Conv(3, 8, 3, stride=2, padding="same"), "stride must be 1"),
    (lambda: Conv(3, 8, 3, padding=-1), "padding must be an integer of at least 0"),
    (lambda: Conv(3, 8, 3, padding_mode="mirror"), "padding_mode must be one of"),
    (lambda: Conv(3, 8, 5).output_size((4, 9)), r"5 taps .* span 5, but 4 .*row axis"),
    (lambda: Conv(3, 8, 3).output_shape((1, 4, 9, 9)), "expected 3 input channels, got 4"),
    (lambda: Conv(3, 8, 3).output_shape((4, 9, 9)), r"\(batch, channels, row, column\)"),
    (lambda: Conv(1, 1, 3, padding=3, padding_mode="reflect").output_size(3), "at most 2"),
    (lambda: ConvTranspose(1, 1, 3, output_padding=1), "smaller than stride or dilation"),
    (lambda: ConvTranspose(1, 1, 1, padding=1).output_size(2), "no output"),
    (lambda: Pool(2, padding=2), "at most half its window"),
    (lambda: Pool(2, kind="mean"), "kind must be one of 'max', 'average'"),
    (lambda: Pool(3).output_size(2), "no output"),
    (lambda: Window(3, padding=(1, -1)), "padding must be an integer of at least 0"),
    (lambda: Chain(), "a chain needs layers"),
    (lambda: Chain(Conv(1, 1, 3), Conv(1, 1, 3, dims=1)), "one dimension"),
    (lambda: Chain(Conv(1, 2, 1), Conv(3, 4, 1)), "gives 2, .* takes 3"),
    (lambda: Chain(Conv(1, 2, 3), Pool(2), ConvTranspose(3, 4, 3)), "gives 2, .* takes 3"),
    (lambda: evaluate(Conv(1, 1, 3), [[1, 2], [3, 4]], [[1]]), "no output"),
    (lambda: evaluate(Conv(1, 1, 2), [[1, 2], [3, 4]], [[1]]), r"weight must be shaped"),
    (lambda: evaluate(Conv(1, 1, 1), [1], [[1]]), "has 3 axes"),
    (lambda: im2col(ConvTranspose(1, 1, 3), [[1]]), "scatters"),
    (lambda: Conv(1, 1, 3, padding_mode="circular").transpose(), "only zero padding"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=range(len(CASES)))
def test_one_line_that_names_it(make, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_integers_of_any_kind_are_integers():
    assert Conv(np.int64(3), 8, np.int32(3)) == Conv(3, 8, 3)


def test_arithmetic_imports_neither_torch_nor_numpy():
    code = (
        "import sys, convsmith, convsmith.arithmetic as a\n"
        "assert convsmith.Conv(3, 30, kernel_size=10).params == 9030\n"
        "a.evaluate(a.Conv(1, 1, 1), [[2]], [[3]])\n"
        "sys.exit(bool({'torch', 'numpy', 'scipy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
