"""One normaliser per parameter: an int, one per axis, or `(low, high)` pairs become plain tuples.

Axes come in tensor order: rows before columns, and in 3-D depth before rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from convsmith.errors import ArgumentError, nearest

__all__ = [
    "MOST_SEEDS", "Size", "choice", "count", "flag", "infer_dims", "per_axis", "per_side", "seeded"
]  # fmt: skip

MOST_SEEDS = (1 << 32) - 1
"""The largest seed that Python, NumPy and PyTorch all take."""

Size = int | Sequence[int]


def count(name: str, value: Any, minimum: int = 1, most: int | None = None) -> int:
    """Return `value` as an int of at least `minimum`; anything else is an `ArgumentError`.

    So is a number above `most`.

    >>> count("stride", 2)
    2
    """
    try:
        number = index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be an integer, not {value!r}") from None
    if isinstance(value, bool) or number < minimum:
        raise ArgumentError(f"{name} must be an integer of at least {minimum}, not {value!r}")
    if most is not None and number > most:
        shown = f"{number:,}" if number < 1 << 64 else f"a number of {number.bit_length()} bits"
        raise ArgumentError(f"{name} must be at most {most:,}, not {shown}")
    return number


def seeded(value: Any) -> int:
    """Return a seed that Python, NumPy and PyTorch all take; anything else is an `ArgumentError`.

    >>> seeded(-1)
    Traceback (most recent call last):
    convsmith.errors.ArgumentError: seed must be an integer of at least 0, not -1
    """
    return count("seed", value, 0, MOST_SEEDS)


def choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return `value` if it is one of the `known` words."""
    if value not in known:
        words = ", ".join(repr(word) for word in known)
        raise ArgumentError(
            f"{name} must be one of {words}, not {value!r}{nearest(str(value), known)}"
        )
    return value


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; "no" would be taken for yes."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} is True or False, not {value!r}")
    return value


def infer_dims(dims: int | None, **values: Any) -> int:
    """Return `dims`, else the number of axes that tuple-valued arguments agree on, else 2.

    >>> infer_dims(None, kernel_size=(3, 1), stride=2)
    2
    """
    if dims is None:
        lengths = {
            name: len(value)
            for name, value in values.items()
            if isinstance(value, Sequence) and not isinstance(value, str)
        }
        if len(set(lengths.values())) > 1:
            parts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ArgumentError(f"the number of axes is not one: {parts}")
        dims = next(iter(lengths.values()), 2)
    if not isinstance(dims, int) or dims not in (1, 2, 3):
        raise ArgumentError(f"a convolution has 1, 2 or 3 spatial axes, not {dims}")
    return dims


def per_axis(name: str, value: Size, dims: int, minimum: int = 1) -> tuple[int, ...]:
    """Return one int per axis.

    >>> per_axis("kernel_size", 3, dims=2)
    (3, 3)
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (count(name, value, minimum),) * dims
    if len(value) != dims or any(isinstance(item, Sequence) for item in value):
        raise ArgumentError(f"{name} must be an int or {_many(dims, 'int')}, not {value!r}")
    return tuple(count(name, item, minimum) for item in value)


def _many(number: int, noun: str) -> str:
    """A number of things, in words.

    >>> _many(2, "int or pair"), _many(1, "int")
    ('2 ints or pairs', 'a sequence of 1 int')
    """
    if number == 1:
        return f"a sequence of 1 {noun}"
    return f"{number} {' or '.join(f'{word}s' for word in noun.split(' or '))}"


def per_side(name: str, value: Any, dims: int) -> tuple[tuple[int, int], ...]:
    """Return `(low, high)` per axis from an int, one int per axis, or one pair per axis.

    >>> per_side("padding", ((0, 1), 2), dims=2)
    ((0, 1), (2, 2))
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        both = count(name, value, minimum=0)
        return ((both, both),) * dims
    if len(value) != dims:
        raise ArgumentError(
            f"{name} must be an int, or {_many(dims, 'int or pair')}, not {value!r}"
        )
    sides = []
    for item in value:
        low, high = item if isinstance(item, Sequence) and len(item) == 2 else (item, item)
        sides.append((count(name, low, minimum=0), count(name, high, minimum=0)))
    return tuple(sides)
