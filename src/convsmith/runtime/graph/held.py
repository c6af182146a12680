"""What objects hold that are neither modules nor dictionaries, so that it can be compared."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from convsmith.network.shadow import HOLDERS, LIBRARIES, slots

__all__ = ["Slots", "is_array", "is_open", "sampled"]

_VALUES = 4096
"""Values of an array that are compared in every call."""


class Slots:
    """The attributes of an object that it keeps in slots, as a sequence.

    >>> class Point:
    ...     __slots__ = ("x", "y")
    >>> point = Point()
    >>> point.x = 3
    >>> list(Slots(point))
    [3, None]
    """

    def __init__(self, owner: Any) -> None:
        self._owner, self._names = owner, slots(type(owner))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self._owner, name, None) for name in self._names)


def is_open(value: Any) -> bool:
    """Whether an object is looked into: a module, a user's own, or one that only holds values."""
    kind = type(value)
    if isinstance(value, (type, torch.jit.ScriptModule)) or hasattr(kind, "shared_by_shadows"):
        return False
    own = kind.__module__.partition(".")[0] not in LIBRARIES
    return own or isinstance(value, (nn.Module, *HOLDERS))


def is_array(value: Any) -> bool:
    """Whether a value is numbers in one piece of memory, and may be changed in place."""
    return isinstance(value, (array, np.ndarray, bytearray))


def sampled(value: Any) -> bytes:
    """The bytes of an array; of a large one, those of some of its values.

    >>> sampled(bytearray(b"ab"))
    b'ab'
    >>> len(sampled(np.zeros((1000, 1000), np.uint8)))
    4099
    """
    if isinstance(value, np.ndarray):
        return value.reshape(-1)[:: max(1, value.size // _VALUES)].tobytes()
    return bytes(value[:: max(1, len(value) // _VALUES)])
