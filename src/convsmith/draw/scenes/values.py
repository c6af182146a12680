"""The numbers of a scene: the user's own, or small ones that are the same every time.

Inside a scene every map has three axes, (depth, row, column), so that one, two and three spatial
axes are one case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import isfinite
from numbers import Real
from typing import Any

from convsmith.arithmetic import Window
from convsmith.arithmetic.normalise import Size, count, per_axis
from convsmith.errors import ArgumentError
from convsmith.text import times

__all__ = [
    "At3",
    "default_image",
    "drawn_size",
    "grid",
    "kernels_of",
    "lift",
    "lift_place",
    "lift_windows",
    "lifted",
    "maps_of",
    "nested",
    "numbers",
    "pick",
    "plain",
    "scattered",
    "shape_of",
]

At3 = tuple[int, int, int]

_KERNELS = 1 << 20
_LONGEST = 1 << 12


def drawn_size(size: Size, dims: int) -> tuple[int, ...]:
    """The lengths of a map that is to be drawn, one per axis.

    Raises:
        ArgumentError: for other lengths, or such that nobody could see.
    """
    lengths = per_axis("size", size, dims)
    for length in lengths:
        count("size", length, 1, _LONGEST)
    return lengths


def maps_of(values: Any, shape: Sequence[int]) -> Callable[[int, At3], Any]:
    """A function that looks up an input shaped (channels, *spatial): the user's, or numbers 0 to 4.

    The default numbers follow from the place alone, so only the part that is shown is computed.
    """
    if values is None:
        return lambda channel, at: scattered(channel, at) % 5
    dims = len(shape) - 1
    array = numbers("values", values, shape, 1)
    return lambda channel, at: pick(array[channel], at[3 - dims :])


def default_image(shape: Sequence[int]) -> Any:
    """The default numbers of `maps_of` as nested lists shaped (channels, *spatial)."""
    value = maps_of(None, shape)
    return nested(tuple(shape), lambda at: value(at[0], lift_place(at[1:])))


def kernels_of(weight: Any, shape: Sequence[int]) -> Callable[[int, int], Any]:
    """A function that looks up a kernel of three axes by the first two of a weight's.

    Default kernels hold whole numbers from 0 to 2; a single tap, 1 to 3.
    """
    size = lift(shape[2:])
    if weight is not None:
        array = numbers("weight", weight, shape, 2)
        return lambda first, second: lifted(array[first][second], len(shape) - 2)
    least = int(max(size) == 1)

    def usual(first: int, second: int) -> Any:
        # Kernels are numbered from where no input has channels, so that both differ.
        number = _KERNELS + first * shape[1] + second
        return nested(size, lambda at: least + scattered(number, (at[0], at[1], at[2])) % 3)

    return usual


def plain(values: Any) -> Any:
    """Nested lists of numbers; arrays and tensors bring `tolist`."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [plain(item) for item in values]
    return values


def shape_of(values: Any) -> tuple[int, ...]:
    """The lengths of nested lists; lists of unequal lengths have no shape.

    >>> shape_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    if not isinstance(values, list):
        return ()
    shapes = {shape_of(item) for item in values}
    if len(shapes) > 1:
        raise ArgumentError("the values are ragged: rows of unequal length")
    return (len(values), *next(iter(shapes), ()))


def numbers(name: str, values: Any, shape: Sequence[int], planes: int) -> Any:
    """The user's numbers as nested lists of a shape; leading axes of length 1 may be left out.

    Args:
        name: what they are called in messages.
        values: nested lists or an array.
        shape: what is expected, (channels, …, *spatial).
        planes: how many of the leading axes may be left out.

    Raises:
        ArgumentError: another shape, or something that is not a number.
    """
    values = plain(values)
    actual, expected = shape_of(values), tuple(shape)
    for missing in range(planes + 1):
        if actual == expected[missing:] and all(length == 1 for length in expected[:missing]):
            for _ in range(missing):
                values = [values]
            break
    else:
        if len(expected) == len(actual) == 1:
            plural = "s" * (expected[0] > 1)
            raise ArgumentError(f"{name} must have {expected[0]} value{plural}, not {actual[0]}")
        one = "one number"
        raise ArgumentError(
            f"{name} must be shaped {times(expected) or one}, not {times(actual) or one}"
        )
    _check(name, values, len(expected))
    return values


def lifted(values: Any, dims: int) -> Any:
    """A map of one or two axes as one of three.

    >>> lifted([1, 2], 1)
    [[[1, 2]]]
    """
    for _ in range(3 - dims):
        values = [values]
    return values


def lift(size: Sequence[int]) -> At3:
    """A size of one or two axes as one of three, the missing lengths 1.

    >>> lift((5, 7))
    (1, 5, 7)
    """
    return (*[1] * (3 - len(size)), *size)  # type: ignore[return-value]


def lift_place(at: Sequence[int]) -> At3:
    """A place on one or two axes as one on three: in the only slice, or row, there is.

    >>> lift_place((4, 6))
    (0, 4, 6)
    """
    return (*[0] * (3 - len(at)), *at)  # type: ignore[return-value]


def lift_windows(windows: Sequence[Window]) -> tuple[Window, ...]:
    """One window for each of three axes; a single tap along the missing ones."""
    return (*[Window(1)] * (3 - len(windows)), *windows)


def nested(shape: Sequence[int], value: Callable[[tuple[int, ...]], Any]) -> Any:
    """Nested lists with a value for each index."""

    def level(at: tuple[int, ...]) -> Any:
        if len(at) == len(shape):
            return value(at)
        return [level((*at, index)) for index in range(shape[len(at)])]

    return level(())


def pick(values: Any, at: Sequence[int]) -> Any:
    """The value at an index."""
    for index in at:
        values = values[index]
    return values


def grid(size: Sequence[int]) -> list[Any]:
    """Every index of an array of a size, in order."""
    return list(product(*map(range, size)))


def _check(name: str, values: Any, axes: int) -> None:
    if axes > 1:
        for item in values:
            _check(name, item, axes - 1)
        return
    for value in values:
        if not isinstance(value, Real) or not isfinite(value):
            raise ArgumentError(f"{name} must hold numbers, and it holds {value!r}")


def scattered(channel: int, at: Sequence[int]) -> int:
    """A whole number that looks random; the primes are those of spatial hashing.

    Args:
        channel: tells maps apart.
        at: a place; the first two of more than three axes are those of the channels.
    """
    *outer, depth, row, column = lift_place(at) if len(at) < 3 else at
    mixed = row * 73856093 ^ column * 19349663 ^ depth * 83492791 ^ channel * 49979687
    for number, prime in zip(outer, (6291469, 12582917), strict=False):
        mixed ^= number * prime
    mixed = (mixed ^ mixed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return mixed ^ mixed >> 15
