"""Numbers as people read them: one function per kind, each from a raw value to a short text."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real

from convsmith.text import times

__all__ = [
    "MISSING",
    "Number",
    "bytes_",
    "count",
    "is_missing",
    "is_number",
    "milliseconds",
    "number",
    "percent",
    "raw",
    "shape",
    "short",
]

Number = int | float | Fraction

MISSING = "–"
"""Stands in for a figure that could not be established."""

_SI = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def is_missing(value: object) -> bool:
    """Whether a value is not established: None, or the float that equals nothing.

    >>> is_missing(None), is_missing(float("nan")), is_missing(0)
    (True, True, False)
    """
    return value is None or (isinstance(value, float) and value != value)


def is_number(value: object) -> bool:
    """Whether a value is an established real number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool) and not is_missing(value)


def raw(value: object) -> str:
    """A value for machines: all its digits, nothing if there is none, sizes joined with x.

    >>> raw(1234567), raw(0.1), raw((1, 3, 224, 224)), raw(True), raw(None)
    ('1234567', '0.1', '1x3x224x224', 'true', '')
    """
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Real):
        return str(value) if hasattr(value, "__index__") else repr(float(value))
    if isinstance(value, (tuple, list)):
        return "x".join(map(raw, value))
    return str(value)


def count(value: int) -> str:
    """Every digit, in groups of three.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def number(value: Number) -> str:
    """Whole numbers in full, others to three significant digits and never as a power of ten.

    >>> number(12345), number(12345.6), number(12.3456), number(0.00123456)
    ('12,345', '12,346', '12.3', '0.00123')
    """
    if isinstance(value, Rational) and value.denominator == 1:
        return f"{int(value.numerator):,}"
    exact = _decimal(value)
    if not exact.is_finite():
        return str(value)
    return f"{exact:,.{max(0, 2 - _exponent(exact))}f}"


def short(value: Number, unit: str = "") -> str:
    """Three significant digits and an SI prefix, joined to `unit` where there is one.

    Whole numbers below a thousand stay as they are.

    >>> short(4089184256), short(4089184256, "MACs"), short(512), short(999_999)
    ('4.09 G', '4.09 GMACs', '512', '1.00 M')
    """
    exact = _decimal(value)
    exponent = _exponent(exact) if exact.is_finite() else 0
    if exponent < 3 or exponent // 3 >= len(_SI):
        return f"{number(value)} {unit}".rstrip()
    mantissa = Decimal(f"{exact:.2e}".split("e")[0]).scaleb(exponent % 3)
    return f"{mantissa} {_SI[exponent // 3]}{unit}"


def percent(share: Number, digits: int = 1) -> str:
    """A share of one in per cent; almost nothing and almost everything say so.

    >>> percent(0.37412), percent(0), percent(0.00004), percent(0.99996), percent(1)
    ('37.4 %', '0.0 %', '<0.1 %', '>99.9 %', '100.0 %')
    """
    step = 10.0**-digits
    text = f"{float(100 * share):.{digits}f}"
    if share > 0 and float(text) == 0:
        return f"<{step:.{digits}f} %"
    if share < 1 and float(text) == 100:
        return f">{100 - step:.{digits}f} %"
    return f"{text} %"


def shape(sizes: Iterable[object]) -> str:
    """The sizes of a tensor, batch first.

    >>> shape((1, 64, 112, 112)), shape(())
    ('1×64×112×112', 'scalar')
    """
    return times(sizes) or "scalar"


def milliseconds(value: Number) -> str:
    """A time given in milliseconds, to three significant digits.

    >>> milliseconds(12.3456), milliseconds(0.0415), milliseconds(1234.5)
    ('12.3 ms', '0.0415 ms', '1,234 ms')
    """
    return f"{number(float(value))} ms"


def bytes_(value: int) -> str:
    """A number of bytes in powers of 1024, to three significant digits.

    >>> bytes_(512), bytes_(832768), bytes_(2**20 - 1)
    ('512 B', '813 KiB', '1.00 MiB')
    """
    scaled, unit = Fraction(value), 0
    while round(abs(scaled)) >= 1024 and unit < len(_BINARY) - 1:
        scaled, unit = scaled / 1024, unit + 1
    return f"{value if unit == 0 else number(float(scaled))} {_BINARY[unit]}"


def _decimal(value: Number) -> Decimal:
    # numpy's numbers are taken too: they are registered with `numbers`, not derived from int.
    if isinstance(value, Rational):
        return Decimal(int(value.numerator)) / Decimal(int(value.denominator))
    return Decimal(float(value))


def _exponent(value: Decimal) -> int:
    """The power of ten of the first digit, after rounding to three."""
    return int(f"{value:.2e}".split("e")[1]) if value else 0
