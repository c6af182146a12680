"""What a line of PyTorch comes to, as far as shapes go, and why one comes to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from reprlib import Repr
from typing import Any

from convsmith.explore.phrases import Language, phrase
from convsmith.text import times

__all__ = [
    "LARGEST",
    "Function",
    "Module",
    "Refusal",
    "Shape",
    "Space",
    "Tensor",
    "axis_in",
    "either",
    "tensor_of",
    "whole",
]

Shape = tuple[int, ...]

LARGEST = 2**63 - 1
"""The largest number that PyTorch takes for a size."""


class Refusal(Exception):
    """A line that PyTorch would refuse, or that cannot be read; it is worded in either language."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self._key, self._values = key, values

    def said(self, language: Language) -> str:
        """The reason, in one line."""
        return phrase(self._key, language, **self._values)


@dataclass(frozen=True)
class Tensor:
    """A tensor of which the shape alone is known.

    Raises:
        Refusal: a size that is negative, or more values than PyTorch can count.
    """

    shape: Shape

    def __post_init__(self) -> None:
        for length in self.shape:
            whole("size", length, 0)
        if prod(self.shape) > LARGEST:
            raise Refusal("code large", value=f"{prod(self.shape):,}")

    @property
    def written(self) -> str:
        """The shape in words.

        >>> Tensor((1, 3)).written
        '1×3'
        """
        return times(self.shape) if self.shape else "()"


@dataclass(frozen=True, eq=False)
class Module:
    """A layer: what it is called, its weight's shape, what it makes of tensors, and its parts."""

    name: str
    apply: Callable[..., Any]
    weight: Shape | None = None
    bias: Shape | None = None
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Function:
    """Something that can be called, and the name that an error calls it by."""

    name: str
    call: Callable[..., Any]


@dataclass(eq=False)
class Space:
    """A name with names below it, such as `nn`."""

    name: str
    names: dict[str, Any] = field(default_factory=dict)


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number that may be a size.

    Raises:
        Refusal: anything else.

    >>> whole("kernel_size", 3)
    3
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Refusal("code whole", name=name, value=_shown(value), least=least)
    if value > LARGEST:
        raise Refusal("code large", value=f"2^{value.bit_length() - 1}")
    return value


def tensor_of(name: str, value: Any) -> Tensor:
    """What a function of that name is applied to.

    Raises:
        Refusal: it is not a tensor.
    """
    if not isinstance(value, Tensor):
        raise Refusal("code tensor", name=name)
    return value


def axis_in(name: str, axis: Any, count: int) -> int:
    """An axis counted from 0; negative ones count from the end.

    Raises:
        Refusal: there is no such axis.

    >>> axis_in("softmax", -1, 4)
    3
    """
    if isinstance(axis, bool) or not isinstance(axis, int) or not -count <= axis < count:
        raise Refusal("code no axis", name=name, axis=_shown(axis), count=count)
    return axis % count


def either(*counts: int) -> str:
    """Numbers of which one is meant, in both languages.

    >>> either(3, 4), either(4)
    ('3 / 4', '4')
    """
    return " / ".join(map(str, counts))


_brief = Repr()


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor({value.written})"
    if isinstance(value, (Module, Function, Space)):
        return value.name
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"2^{abs(value).bit_length() - 1}"
    return _brief.repr(value)
