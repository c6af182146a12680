"""Whether weights have new values since kernels took them over. Asked at every call."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any

from torch import Tensor

from convsmith.kernels.watching import InPython, Seen
from convsmith.runtime.graph.asked import asked, form

__all__ = ["Watch"]

_LINE = 64
_OBJECT, _TENSOR, _STORAGE = 2, 4, 2
"""Cache lines of a tensor's Python object, of what PyTorch keeps for it, and of its storage."""

_FEW = 8
"""Tensors whose objects are in the cache anyway."""

_SAMPLES, _MOST_SAMPLES = 8, 512
"""Values of a weight that are looked at in every call, and of all of them together."""

_PIECE = 4096
"""Bytes of a weight that are compared at once."""

_BYTES, _PIECES = 8192, 32
"""Bytes, and pieces, that are compared in every call: small networks as a whole, others in turns.
They take a microsecond."""

_WORD = 4
"""Bytes of a sample."""


class Watch:
    """Watches tensors for new values.

    PyTorch counts in each tensor how often it was written to; one that got other memory has another
    address, and one that is another view of its memory has another form. To look at hundreds of
    them takes tens of microseconds, nearly all of it to wait for memory, for a network's data has
    pushed them from the caches: so all are asked for at once.

    Writes through `.data`, NumPy or a pointer are not counted, so values are compared, too: a few
    of each tensor at every call, and all of them in turns.

    Args:
        tensors: to watch.
        look: the functions that look at memory.

    Attributes:
        counted: the tensors whose writes PyTorch counts.
        counts: how many there were; then forms and addresses of tensors that only Python can ask.
        seen: compares forms, addresses and values with what they were.
        turns: which pieces a call compares, call after call: the first one, and how many.
        stale: one number: whether a difference was found.

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
        self.counted = [t for t in self._tensors if not t.is_inference()]
        # Their memory is not used for anything else as long as this looks at it.
        self._memory = [t.detach() for t in self._tensors]
        self._forms = [_form(t) for t in self._tensors]
        look = look or InPython()
        by_c = asked() if look.asks_tensors else 0
        self._asked = [] if by_c else self._tensors  # by Python
        self._turn, self.stale = 0, array("i", [0])
        self.counts = self._counts()
        addresses = [tensor.data_ptr() for tensor in self._tensors]
        spans = [(a, n) for t, a in zip(self._tensors, addresses, strict=True) if (n := _extent(t))]
        pieces = _pieces(spans)
        self.turns = _turns(pieces) or [(0, 0)]
        self.seen = look.compare(
            Seen(
                array("Q", _lines(self._tensors) if len(self._tensors) > _FEW else ()),
                array("Q", map(id, self._tensors)),
                array("q", chain.from_iterable(map(form, self._tensors))),
                array("Q", addresses),
                by_c,
                array("Q", _samples(spans) if len(self.turns) > 1 else ()),
                pieces,
            )
        )

    @property
    def changed(self) -> bool:
        """Whether any tensor was written to, or got other memory, as far as this call looks.

        Once it is so it stays so: the next call looks elsewhere.
        """
        turn = self._turn
        self._turn = (turn + 1) % len(self.turns)
        if self.seen.differs(*self.turns[turn]) or (
            not self.sees_all and self._counts() != self.counts
        ):
            self.stale[0] = 1
        return bool(self.stale[0])

    @property
    def sees_all(self) -> bool:
        """Whether every call compares all values, so that counts say nothing more."""
        return not self._asked and len(self.turns) == 1

    @property
    def converted(self) -> bool:
        """Whether any tensor has another shape, type or device."""
        return [_form(t) for t in self._tensors] != self._forms

    def _counts(self) -> list[Any]:
        counts = list(map(_VERSION, self.counted))
        return [*counts, *map(_place, self._asked)] if self._asked else counts


def _pieces(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (at + start, stop - start)
        for at, count in spans
        for start, stop in pairwise([*range(0, count, _PIECE), count])
    ]


def _turns(pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Which pieces each turn looks at: the first one, and how many."""
    turns: list[tuple[int, int]] = []
    first, size = 0, 0
    for number, (_, count) in enumerate(pieces, start=1):
        size += count
        if size >= _BYTES or number - first == _PIECES or number == len(pieces):
            turns.append((first, number - first))
            first, size = number, 0
    return turns


def _samples(spans: Sequence[tuple[int, int]]) -> list[int]:
    """The addresses of a few words of each tensor, spread over it."""
    each = max(1, min(_SAMPLES, _MOST_SAMPLES // len(spans)))
    return [
        at + _WORD * place
        for at, count in spans
        if (words := count // _WORD)
        for place in sorted({(2 * i + 1) * words // (2 * each) for i in range(each)})
    ]


_VERSION = attrgetter("_version")


def _place(tensor: Tensor) -> Any:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _extent(tensor: Tensor) -> int:
    """The bytes from a tensor's first value to its last one, on this processor."""
    if not tensor.is_cpu or not tensor.numel():
        return 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    span = 1 + sum((length - 1) * step for length, step in steps)
    return span * tensor.element_size()


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
