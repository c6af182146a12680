"""Every row and figure of the lesson that integers can answer, with its literal numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from convsmith.arithmetic import (
    Chain,
    Conv,
    ConvTranspose,
    Pool,
    convolution_matrix,
    evaluate,
    im2col,
    parameter_table,
    summary,
)
from convsmith.errors import ArgumentError

IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
SAME = [[16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]]
KERNEL = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]
STAMP = [[55, 110, 55], [110, 55, 110], [55, 55, 110]]


def test_cost_of_a_standard_convolution_is_kkmnhw():
    k, m, n, h, w = 3, 5, 7, 11, 13
    conv = Conv(m, n, k, padding=1)
    assert conv.macs((h, w)) == k * k * m * n * h * w
    assert conv.flops((h, w)) == 2 * k * k * m * n * h * w + n * h * w
    assert conv.macs((h, w), batch=4) == 4 * conv.macs((h, w))


def test_a_convolution_by_hand():
    conv = Conv(1, 1, kernel_size=2, padding="same", bias=False)
    assert conv.padding == ((0, 1), (0, 1)), "an even kernel pads at the right and bottom only"
    assert evaluate(conv, IMAGE, [[1, 0], [2, 1]]) == SAME


def test_every_size_is_an_int_or_a_pair():
    one, pair = Conv(3, 8, 3, 2, 1, 2), Conv(3, 8, (3, 3), (2, 2), (1, 1), (2, 2))
    assert one == pair and hash(one) == hash(pair)
    assert Conv(1, 1, (3, 2), padding=((0, 1), (2, 0))).padding == ((0, 1), (2, 0))
    assert Conv(1, 1, 3, padding="valid") == Conv(1, 1, 3)


def test_depthwise_and_pointwise_and_separable():
    conv = Conv(3, 4, 3)
    depthwise, pointwise = conv.separable()
    assert depthwise == Conv(3, 3, 3, groups=3) and depthwise.is_depthwise
    assert pointwise == Conv(3, 4, 1) and pointwise.is_pointwise
    assert conv.separable().output_shape((1, 3, 5, 5)) == (1, 4, 3, 3)
    assert Conv(100, 50, 1).output_shape((1, 100, 224, 224)) == (1, 50, 224, 224)
    assert conv.depthwise(multiplier=2).out_channels == 6
    assert Conv(3, 10, 3).separable().output_shape((1, 3, 128, 128)) == (1, 10, 126, 126)


@pytest.mark.parametrize("n", [1, 4, 64, 257])
@pytest.mark.parametrize("kernel", [1, 3, (3, 5), 7])
def test_the_cost_ratio_is_one_over_n_plus_one_over_kk(n, kernel):
    conv = Conv(6, n, kernel)
    ratio = Fraction(conv.separable().macs((31, 29)), conv.macs((31, 29)))
    assert ratio == Fraction(1, n) + Fraction(1, conv.taps) == conv.cost_ratio()
    grouped = Conv(6, 4 * n, kernel, groups=2)
    for multiplier in (1, 3):
        macs = grouped.separable(multiplier).macs((31, 29))
        assert Fraction(macs, grouped.macs((31, 29))) == grouped.cost_ratio(multiplier)


def test_eight_to_nine_times_less_for_3x3():
    assert 8 < 1 / Conv(256, 256, 3).cost_ratio() < 9


def test_groups_stack_parts_that_never_mix():
    image = [[[1, 2]], [[3, 4]], [[5, 6]], [[7, 8]]]
    conv = Conv(4, 2, 1, groups=2, bias=False)
    weight = [[[[1]], [[10]]], [[[100]], [[1000]]]]
    assert evaluate(conv, image, weight) == [[[31, 42]], [[7500, 8600]]]


@pytest.mark.parametrize("channels", [(4, 6), (6, 4)])
def test_groups_must_divide_both_channel_counts(channels):
    with pytest.raises(ArgumentError, match=r"groups must divide .*: 4 is not a multiple of 3"):
        Conv(*channels, 3, groups=3)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_dilation_costs_nothing_and_covers_more(d):
    plain, dilated = Conv(3, 30, 3, padding=1), Conv(3, 30, 3, padding=d, dilation=d)
    assert dilated.windows[0].extent == d * (3 - 1) + 1
    assert dilated.output_size(64) == (64, 64)
    assert dilated.params == plain.params and dilated.macs(64) == plain.macs(64)
    assert Conv(3, 3, 3, padding=2, dilation=2, groups=3).output_shape((1, 3, 5, 5)) == (1, 3, 5, 5)


def test_transposed_restores_the_size_by_stamps_and_by_the_matrix():
    conv, back = Conv(1, 1, 3), ConvTranspose(1, 1, 3)
    assert conv.output_size((4, 4)) == (2, 2) and back.output_size((2, 2)) == (4, 4)
    assert conv.transpose() == back
    assert evaluate(back, [[55]], KERNEL) == STAMP
    matrix = convolution_matrix(conv, KERNEL, 4)
    transposed = convolution_matrix(back, KERNEL, 2)
    assert matrix.shape == (4, 16) and transposed.shape == (16, 4)
    assert (transposed.toarray() == matrix.toarray().T).all()
    image = [[55, 1], [0, 2]]
    stamped = evaluate(back, image, KERNEL)
    assert (transposed @ [55, 1, 0, 2]).reshape(4, 4).tolist() == stamped
    assert stamped[0] == [55, 111, 57, 1], "overlapping stamps add up"


def test_matrix_and_im2col_give_the_sliding_windows_output():
    conv = Conv(1, 1, 2, padding="same", bias=False)
    flat = [value for row in IMAGE for value in row]
    assert (convolution_matrix(conv, [[1, 0], [2, 1]], 4) @ flat).reshape(4, 4).tolist() == SAME
    assert ([1, 0, 2, 1] @ im2col(conv, IMAGE)).reshape(4, 4).tolist() == SAME


def test_the_table_of_parameters():
    conv = Conv(3, 30, kernel_size=10)
    connected = Conv(10 * 10 * 3, 10 * 10 * 30, 1)
    assert connected.params == 903_000
    assert conv.params == 9_030
    assert Conv(3, 30, 10, dilation=2).params == 9_030
    assert Conv(3, 30, 10, groups=3).params == 3_030
    assert Conv(3, 30, 1).params == 120
    separable = conv.separable()
    assert [layer.params for layer in separable] == [303, 120] and separable.params == 423


def test_receptive_fields_of_stacks():
    def widths(*dilations):
        stack = Chain(*[Conv(1, 1, 3, dilation=d) for d in dilations])
        field = stack.receptive_field()
        return field.span, len(field)

    assert [widths(*[1] * n)[0] for n in (1, 2, 3)] == [3, 5, 7]
    assert [widths(*[2**i for i in range(n)])[0] for n in (1, 2, 3)] == [3, 7, 15]
    assert widths(2, 2, 2) == (13, 7)
    assert widths(1, 2, 3) == (13, 13)
    assert widths(1, 2, 5) == (17, 17)
    assert widths(1, 2, 9) == (25, 21)
    assert widths(1, 2, 4, 8) == (31, 31)
    assert widths(2, 4, 8) == (29, 15)
    strided = Chain(Conv(1, 1, 3), Pool(2), Conv(1, 1, 3))
    assert strided.receptive_field().span == 8, "a pool of 2 doubles what comes after"


def test_tables_name_every_parameter():
    table = parameter_table()
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
                 "groups", "bias", "padding_mode", "output_padding"):  # fmt: skip
        assert f"\n{name} " in table
    text = summary(Conv(3, 10, 3), 128, batch=2)
    assert "2 × 10 × 126 × 126" in text and "8,573,040" in text
