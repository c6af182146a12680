from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.report import (
    MISSING,
    Column,
    bytes_,
    count,
    milliseconds,
    number,
    percent,
    shape,
    short,
)
from convsmith.report.formats import raw

SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
BINARY = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (25_557_032, "25.6 M"),
        (4_089_184_256, "4.09 G"),
        (-1_234_567, "-1.23 M"),
        (999.6, "1.00 k"),
        (169.3e9, "169 G"),
        (0.05, "0.0500"),
        (Fraction(10_000, 3), "3.33 k"),
        (float("inf"), "inf"),
        (10**40, f"{10**40:,}"),
    ],
)
def test_short(value, text):
    assert short(value) == text


def test_short_joins_prefix_and_unit():
    assert short(4_089_184_256, "MACs") == "4.09 GMACs"
    assert short(512, "MACs") == "512 MACs"


@given(st.integers(1000, 10**21 - 10**18))
def test_short_is_within_half_a_unit_of_its_third_digit(value):
    mantissa, prefix = short(value).split(" ")
    assert len(mantissa.replace(".", "")) == 3
    shown = Fraction(mantissa) * SI[prefix]
    digit = Fraction(10) ** (len(str(value)) - 3)
    assert abs(shown - value) <= digit / 2


@given(st.integers(0, 2**50 - 1))
def test_bytes_are_within_half_a_percent(value):
    figure, unit = bytes_(value).split(" ")
    shown = Fraction(figure.replace(",", "")) * BINARY[unit]
    assert abs(shown - value) * 200 <= max(value, 1)
    assert unit == "B" or Fraction(figure.replace(",", "")) >= 1
    assert Fraction(figure.replace(",", "")) < 1024


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (97 * 2**20, "97.0 MiB"),
    ],
)
def test_bytes(value, text):
    assert bytes_(value) == text


@given(st.integers())
def test_whole_numbers_keep_every_digit(value):
    assert int(count(value).replace(",", "")) == value
    assert number(value) == count(value)
    assert int(raw(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_raw_floats_read_back_as_themselves(value):
    assert float(raw(value)) == value


@given(st.floats(1e-9, 1e15))
def test_other_numbers_keep_three_digits_and_no_exponent(value):
    text = number(value)
    assert "e" not in text
    assert abs(float(text.replace(",", "")) - value) <= 0.005001 * value


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (1, "100.0 %"),
        (0.5, "50.0 %"),
        (0.0004, "<0.1 %"),
        (0.0006, "0.1 %"),
        (0.9994, "99.9 %"),
        (0.9996, ">99.9 %"),
        (1.25, "125.0 %"),
        (-0.031, "-3.1 %"),
        (Fraction(1, 9), "11.1 %"),
    ],
)
def test_percent_never_rounds_to_nothing_or_to_all(share, text):
    assert percent(share) == text


def test_percent_with_other_digits():
    assert percent(0.98765, digits=0) == "99 %"
    assert percent(0.000001, digits=3) == "<0.001 %"
    assert percent(0.9999999, digits=2) == ">99.99 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12.0 ms"),
        (0, "0.00 ms"),
        (9.996, "10.0 ms"),
        (0.99951, "1.00 ms"),
        (1234567.8, "1,234,568 ms"),
    ],
)
def test_milliseconds(value, text):
    assert milliseconds(value) == text


def test_shape():
    assert shape((1, 64, 112, 112)) == "1×64×112×112"
    assert shape([7]) == "7"
    assert shape(()) == "scalar"


def test_what_is_not_established_has_one_sign():
    column = Column("n", "n", format=count)
    assert column.text(None) == column.text(float("nan")) == MISSING == "–"
    assert raw(None) == raw(float("nan")) == ""
    assert column.text(0) == raw(0) == "0"


def test_numbers_of_numpy():
    assert count(np.int64(1234567)) == number(np.int64(1234567)) == "1,234,567"
    assert short(np.float32(2.5e6)) == "2.50 M"
    assert raw(np.float64(0.1)) == "0.1"
    assert raw(np.int64(3)) == "3"
    assert raw((np.int64(1), 3)) == "1x3"


def test_raw_of_other_values():
    assert raw(True) == "true"
    assert raw(Fraction(1, 4)) == "0.25"
    assert raw((1, 64, 112, 112)) == "1x64x112x112"
    assert raw("layer1.0") == "layer1.0"
