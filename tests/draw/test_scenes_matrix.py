"""The matrix and im2col as scenes: every number is torch's, cropped or whole, in both languages."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convsmith as cs
from convsmith.arithmetic import convolution_matrix
from convsmith.arithmetic import im2col as patches_of
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw import animate, im2col, matrix
from convsmith.draw.words import phrase
from convsmith.errors import ArgumentError
from tests.arithmetic.test_against_torch import TRANSPOSED, integers, torch_conv
from tests.specifications import convolutions, transposed
from tests.thoroughness import examples

DIMS = pytest.mark.parametrize("dims", [1, 2])
seeds = st.integers(0, 2**31)
STAMP = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]


def check_matrix(scene, dense, image, expected):
    """The cells are the weights, where there are any; x and y are the input and the output."""
    rows, columns = scene.panel("matrix").size
    assert rows == min(36, len(dense)) and columns == min(64, dense.shape[1])
    drawn = {cell.at for cell in scene.panel("matrix").cells if not cell.role}
    held = set(zip(*map(list, dense[:rows, :columns].nonzero())))
    # A weight that is 0 is a weight, but nothing is drawn where none is.
    assert held <= drawn
    values = scene.values("matrix")
    x, y = scene.values("x"), scene.values("y")
    numbers = x[0, 0] is not None
    for at in drawn if numbers else ():
        assert values[at] == dense[at]
    for c in range(columns if numbers else 0):
        assert x[0, c] == image.ravel()[c]
    for r in range(rows if numbers else 0):
        assert y[r, 0] == expected.ravel()[r]
    flat = expected.reshape(expected.shape[0], *[1] * (3 - expected.dim()), *expected.shape[1:])
    for panel in scene.panels:
        if panel.name.startswith("output"):
            channel = flat[int(panel.name.removeprefix("output"))]
            for at, value in scene.values(panel.name).items():
                assert value is None or value == channel[at]
    return numbers


@DIMS
@examples(120)
@given(data=st.data(), seed=seeds)
def test_the_matrix_of_a_convolution(dims, data, seed):
    layer, size = data.draw(convolutions(dims, PADDING_MODES))
    image = integers(seed, layer.in_channels, *size)
    weight = integers(seed + 1, *layer.weight_shape)
    dense = convolution_matrix(layer, weight, size).toarray()
    expected = torch_conv(layer, image[None], weight)[0]
    check_matrix(matrix(layer, size, values=image, weight=weight), dense, image, expected)


@DIMS
@examples(120)
@given(data=st.data(), seed=seeds)
def test_the_matrix_of_a_transposed_convolution(dims, data, seed):
    layer, size = data.draw(transposed(dims))
    image = integers(seed, layer.in_channels, *size)
    weight = integers(seed + 1, *layer.weight_shape)
    low = [low for low, _ in layer.padding]
    expected = TRANSPOSED[dims](
        image[None], weight, None, layer.stride, low, layer.output_padding, layer.groups,
        layer.dilation,
    )[0]  # fmt: skip
    dense = convolution_matrix(layer, weight, size).toarray()
    scene = matrix(layer, size, values=image, weight=weight)
    check_matrix(scene, dense, image, expected)
    assert scene == animate(layer, size, values=image, weight=weight, view="matrix")


@DIMS
@examples(120)
@given(data=st.data(), seed=seeds)
def test_im2col(dims, data, seed):
    drawn, size = data.draw(convolutions(dims, PADDING_MODES))
    layer = cs.Conv(
        drawn.in_channels, drawn.out_channels, drawn.kernel_size, drawn.stride, drawn.padding,
        drawn.dilation, padding_mode=drawn.padding_mode, dims=dims,
    )  # fmt: skip
    image = integers(seed, layer.in_channels, *size)
    weight = integers(seed + 1, *layer.weight_shape)
    scene = im2col(layer, size, values=image, weight=weight)
    wanted = patches_of(layer, image)
    product = torch_conv(layer, image[None], weight)[0].reshape(layer.out_channels, -1)
    kernels = weight.reshape(layer.out_channels, -1)
    for name, table in (("patches", wanted), ("product", product), ("weights", kernels)):
        for at, value in scene.values(name).items():
            assert value is None or value == table[at]
    if scene.values("weights")[0, 0] is not None:
        assert None not in scene.values("patches").values()


def test_the_lesson_4_by_16_and_back():
    there = matrix(cs.Conv(1, 1, 3), 4, weight=STAMP)
    back = matrix(cs.ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=STAMP)
    assert (there.panel("matrix").size, back.panel("matrix").size) == ((4, 16), (16, 4))
    turned = {(c, r): v for (r, c), v in there.values("matrix").items() if v is not None}
    assert turned == {at: v for at, v in back.values("matrix").items() if v is not None}
    assert "4×16 matrix of the convolution, transposed to 16×4" in phrase(back.notes[1], "en")
    assert phrase(back.steps[0].caption, "en") == "row 0: y[0, 0] = 1·55 =\u00a055"
    wanted = torch.nn.functional.conv_transpose2d(
        torch.tensor([[[[55.0, 1], [2, 3]]]]), torch.tensor([[STAMP]], dtype=torch.float32)
    )
    got = [back.values("y")[r, 0] for r in range(16)]
    assert got == wanted.ravel().tolist()


def test_each_step_marks_one_row_and_what_it_reads():
    scene = matrix(cs.Conv(1, 1, 3, padding=1), 4)
    for row, step in enumerate(scene.steps):
        marks = {(mark.panel, mark.role): mark.cells for mark in step.marks}
        at = (row // 4, row % 4)
        assert marks["output0", "current"] == (at,)
        assert {r for r, _ in marks["matrix", "active"]} == {row}
        near = {
            (r, c)
            for r in range(at[0] - 1, at[0] + 2)
            for c in range(at[1] - 1, at[1] + 2)
            if 0 <= r < 4 and 0 <= c < 4
        }
        assert set(marks["input0", "window"]) == near
        assert {c for _, c in marks["x", "window"]} == {4 * r + c for r, c in near}


def test_large_ones_are_a_crop_that_says_so():
    scene = matrix(cs.Conv(3, 8, 3), 224)
    assert scene.panel("matrix").size == (36, 64)
    assert "a crop: 36×64 of 394272×150528" in [phrase(note, "en") for note in scene.notes]
    patches = im2col(cs.Conv(3, 8, 3), 224)
    assert patches.panel("patches").size == (12, 16)
    assert "a crop: 12×16 of 27×49284" in [phrase(note, "en") for note in patches.notes]


SCENES = {
    "matrix": lambda **o: matrix(cs.Conv(1, 1, 3), 4, **o),
    "channels": lambda **o: matrix(cs.Conv(2, 2, 2, groups=2), 3, **o),
    "transposed": lambda **o: matrix(cs.ConvTranspose(1, 1, 3, 2), 2, **o),
    "line": lambda **o: matrix(cs.Conv(1, 1, 3, dims=1), 6, **o),
    "im2col": lambda **o: im2col(cs.Conv(2, 3, 2, padding=1), 3, **o),
}


@pytest.mark.parametrize("name", SCENES)
def test_the_same_bytes_and_numbers_in_both_languages(name):
    make = SCENES[name]
    assert make().svg() == make().svg()
    english, chinese = make(language="en"), make(language="zh")
    assert english.panels == chinese.panels and english.symbols == chinese.symbols
    for one, other in zip(english.steps, chinese.steps):
        assert one == other
        texts = [re.findall(r"\d+", phrase(one.caption, language)) for language in ("en", "zh")]
        assert sorted(texts[0]) == sorted(texts[1])
    assert english.svg() != chinese.svg() and english.svg(language="zh") == chinese.svg()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: matrix(cs.Pool(2), 4), "a Conv or ConvTranspose has a matrix"),
        (lambda: matrix(cs.Conv(1, 1, 3, dims=3), 4), "one or two axes, not 3"),
        (lambda: matrix(cs.Conv(1, 1, 5), 3), "no output: 5 taps"),
        (lambda: matrix(cs.Conv(1, 1, 3), 4, weight=[[1, 2], [3, 4]]), "shaped 1×1×3×3, not 2×2"),
        (lambda: matrix(cs.Conv(1, 1, 3), 4, values=[1, 2]), "shaped 1×4×4, not 2"),
        (lambda: matrix(cs.Conv(1, 1, 3), 4, language="de"), "'en', 'zh', not 'de'"),
        (lambda: im2col(cs.Conv(2, 2, 3, groups=2), 4), "a Conv of one group"),
        (lambda: im2col(cs.ConvTranspose(1, 1, 3), 4), "a Conv of one group"),
        (lambda: im2col(cs.Conv(1, 1, 3), 4, theme="blue"), "not 'blue'"),
        (
            lambda: animate(cs.ConvTranspose(1, 1, 3), 2, bias=[1], view="matrix"),
            "a bias is not part of the matrix",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, said):
    with pytest.raises(ArgumentError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
