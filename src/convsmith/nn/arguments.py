"""Arguments of a layer, each brought to one form, so that every message reads the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from torch import nn

from convsmith.errors import ArgumentError, nearest

__all__ = ["build", "choice", "divide", "integer", "sizes"]


def integer(owner: str, name: str, value: object, minimum: int = 1) -> int:
    """Return an integer of at least ``minimum``, or refuse it by name.

    >>> integer("Layer", "groups", 2)
    2
    """
    number = _index(value)
    if number is None or number < minimum:
        raise ArgumentError(
            f"{owner}: {name} must be an integer of at least {minimum}, not {value!r}"
        )
    return number


def sizes(
    owner: str, name: str, value: object, dimensions: int, minimum: int = 1
) -> tuple[int, ...]:
    """Return one integer an axis, from one for all axes or one for each.

    >>> sizes("Layer", "kernel_size", 3, 2), sizes("Layer", "kernel_size", (1, 5), 2)
    ((3, 3), (1, 5))
    """
    many = isinstance(value, Sequence) and not isinstance(value, str)
    entries = list(value) if many else [value] * dimensions  # type: ignore[call-overload]
    numbers = [_index(entry) for entry in entries]
    checked = tuple(number for number in numbers if number is not None and number >= minimum)
    if len(numbers) != dimensions or len(checked) != dimensions:
        raise ArgumentError(
            f"{owner}: {name} must be an integer of at least {minimum} or {dimensions} of them, "
            f"not {value!r}"
        )
    return checked


def divide(owner: str, groups: int, in_channels: int, out_channels: int) -> None:
    """Refuse groups that do not divide both channel counts."""
    if in_channels % groups or out_channels % groups:
        raise ArgumentError(
            f"{owner}: groups={groups} must divide both in_channels={in_channels} and "
            f"out_channels={out_channels}"
        )


def choice(owner: str, name: str, value: object, known: Sequence[str]) -> str:
    """Return one of the known words, or name the nearest one."""
    if not isinstance(value, str) or value not in known:
        words = ", ".join(repr(word) for word in known)
        hint = nearest(str(value), known)
        raise ArgumentError(f"{owner}: {name} must be one of {words}, not {value!r}{hint}")
    return value


def build(owner: str, name: str, factory: Callable[..., object], *arguments: int) -> nn.Module:
    """Call a factory of modules; refuse what is no factory or makes no module."""
    call = f"{name}(channels)" if arguments else f"{name}()"
    expected = f"{owner}: {name} must be a callable, {call} -> nn.Module"
    # A module is callable too, and would only fail in its forward pass.
    if isinstance(factory, nn.Module):
        raise ArgumentError(f"{expected}, not a module: {factory!r}")
    if not callable(factory):
        raise ArgumentError(f"{expected}, not {factory!r}")
    try:
        module = factory(*arguments)
    except TypeError as error:
        raise ArgumentError(f"{expected}; calling it failed: {error}") from error
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"{expected}; it returned {module!r}")
    return module


def _index(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
