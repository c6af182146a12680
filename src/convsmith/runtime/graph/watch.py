"""Whether weights were changed since a network was compiled. Asked at every call."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from torch import Tensor

__all__ = ["Watch"]

_LINE = 64
_OBJECT, _TENSOR, _STORAGE = 2, 4, 2
"""Cache lines of a tensor's Python object, of what PyTorch keeps for it, and of its storage."""


class Watch:
    """Watches tensors for new values.

    PyTorch counts in each tensor how often it was written to; one that got other memory has another
    address. To look at hundreds of them takes tens of microseconds, nearly all of it to wait for
    memory, for a network's data has pushed them from the caches: so all are asked for at once.

    Args:
        tensors: to watch.
        prefetch: takes the address and the length of an array of addresses.

    >>> import torch
    >>> weight = torch.ones(3)
    >>> watch = Watch([weight])
    >>> watch.changed
    False
    >>> _ = weight.add_(1)
    >>> watch.changed
    True
    """

    def __init__(
        self, tensors: Sequence[Tensor], prefetch: Callable[[int, int], Any] | None = None
    ) -> None:
        self._tensors = list(tensors)
        self._prefetch = prefetch
        self._lines = array("Q", sorted(set(_lines(self._tensors))))
        self._where = self._lines.buffer_info()
        self._seen = self._state()

    @property
    def changed(self) -> bool:
        """Whether any tensor was written to, or got other memory."""
        if self._prefetch is not None:
            self._prefetch(*self._where)
        return self._state() != self._seen

    def _state(self) -> tuple[int, int]:
        # Sums, because they are made without a step of the interpreter for each tensor.
        return sum(map(_VERSION, self._tensors)), sum(map(Tensor.data_ptr, self._tensors))


_VERSION = attrgetter("_version")


def _lines(tensors: Sequence[Tensor]) -> list[int]:
    """Addresses of cache lines: hints, for a wrong one costs a little time and nothing else."""
    return [
        (start + _LINE * line) // _LINE * _LINE
        for tensor in tensors
        for start, count in (
            (id(tensor), _OBJECT),
            (tensor._cdata, _TENSOR),
            (tensor.untyped_storage()._cdata, _STORAGE),
        )
        for line in range(count)
    ]
