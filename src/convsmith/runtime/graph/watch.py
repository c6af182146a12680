"""Whether weights have new values since kernels took them over. Asked at every call."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
from torch import Tensor

from convsmith.kernels.watching import InPython

__all__ = ["Watch"]

_LINE = 64
_OBJECT, _TENSOR, _STORAGE = 2, 4, 2
"""Cache lines of a tensor's Python object, of what PyTorch keeps for it, and of its storage."""

_FEW = 8
"""Tensors whose objects are in the cache anyway."""

_SAMPLES, _MOST_SAMPLES = 8, 2048
"""Values of a weight that are looked at in every call, and of all of them together."""

_PIECE = 1024
"""Words of a weight that are compared at once."""

_WORDS, _PIECES = 2048, 32
"""Words, and pieces, that are compared in every call: small networks as a whole, others in turns.
They take a microsecond."""


class Watch:
    """Watches tensors for new values.

    PyTorch counts in each tensor how often it was written to; one that got other memory has another
    address. To look at hundreds of them takes tens of microseconds, nearly all of it to wait for
    memory, for a network's data has pushed them from the caches: so all are asked for at once.

    Writes through `.data`, NumPy or a pointer are not counted, so values are compared, too: a few
    of each tensor at every call, and all of them in turns.

    Args:
        tensors: to watch.
        look: the functions that look at memory.

    >>> import torch
    >>> weight = torch.ones(3)
    >>> watch = Watch([weight])
    >>> watch.changed
    False
    >>> _ = weight.data.add_(1)
    >>> watch.changed
    True
    """

    def __init__(self, tensors: Sequence[Tensor], look: InPython | None = None) -> None:
        self._tensors = list({id(t): t for t in tensors}.values())
        # Those made in inference mode are not counted.
        self._counted = [t for t in self._tensors if not t.is_inference()]
        # Their memory is not used for anything else as long as this looks at it.
        self._memory = [t.detach() for t in self._tensors]
        self._forms = [_form(t) for t in self._tensors]
        self._look = look or InPython()
        self._lines = array("Q", sorted(set(_lines(self._tensors))))
        self._where = self._lines.buffer_info()
        self._far = self._look.prefetch is not None and len(self._tensors) > _FEW
        self._turn, self._stale = 0, False
        self._state = self._counts()
        spans = [(t.data_ptr(), words) for t in self._tensors if (words := _words(t))]
        self._pieces, self._turns = self._cut(spans)
        self._pieces_at = self._pieces.ctypes.data, len(self._pieces)
        self._samples = array("Q", _samples(spans) if len(self._turns) > 1 else ())
        self._samples_at = self._samples.buffer_info()
        self._sampled = self._look.sampled(*self._samples_at)

    @property
    def changed(self) -> bool:
        """Whether any tensor was written to, or got other memory, as far as this call looks.

        Once it is so it stays so: the next call looks elsewhere.
        """
        self._stale = self._stale or self._look_on()
        return self._stale

    def _look_on(self) -> bool:
        if self._far:
            self._look.prefetch(*self._where)
        if self._counts() != self._state:
            return True
        if not self._turns:
            return False
        if self._samples:
            if self._look.sampled(*self._samples_at) != self._sampled:
                return True
            self._turn = (self._turn + 1) % len(self._turns)
        first, most = self._turns[self._turn]
        return self._look.unchanged(*self._pieces_at, first, most) < most

    @property
    def converted(self) -> bool:
        """Whether any tensor has another shape, type or device."""
        return [_form(t) for t in self._tensors] != self._forms

    def _counts(self) -> list[int]:
        return [*map(_VERSION, self._counted), *map(Tensor.data_ptr, self._tensors)]

    def _cut(self, spans: Sequence[tuple[int, int]]) -> tuple[Any, list[tuple[int, int]]]:
        """Pieces of the weights, and which of them each turn looks at: the first, how many."""
        pieces = [
            (at + 4 * start, stop - start, self._look.checksum(at + 4 * start, stop - start))
            for at, count in spans
            for start, stop in pairwise([*range(0, count, _PIECE), count])
        ]
        turns: list[tuple[int, int]] = []
        first, words = 0, 0
        for number, (_, count, _) in enumerate(pieces):
            words += count
            if words >= _WORDS or number + 1 - first == _PIECES or number + 1 == len(pieces):
                turns.append((first, number + 1 - first))
                first, words = number + 1, 0
        return np.array(pieces, [("words", "u8"), ("count", "i8"), ("checksum", "u8")]), turns


def _samples(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The addresses of a few words of each tensor, spread over it."""
    each = max(1, min(_SAMPLES, _MOST_SAMPLES // len(spans)))
    return [
        at + 4 * place
        for at, count in spans
        for place in sorted({(2 * i + 1) * count // (2 * each) for i in range(each)})
    ]


_VERSION = attrgetter("_version")


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _words(tensor: Tensor) -> int:
    """The words of four bytes of a tensor whose values lie together on this processor; else 0."""
    dense = tensor.is_contiguous() or tensor.transpose(0, -1).is_contiguous()
    dense = dense or (tensor.dim() == 4 and tensor.permute(0, 2, 3, 1).is_contiguous())
    return tensor.numel() * tensor.element_size() // 4 if dense and tensor.is_cpu else 0


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
