"""Comparing dictionaries and memory with what they were: functions of the executor, or Python's."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

__all__ = ["InPython", "Seen", "Watching"]


@dataclass(frozen=True)
class Seen:
    """What is to be compared; all lists are arrays of addresses.

    Attributes:
        lines: of memory that will be looked at.
        tensors: of tensors, as objects of Python.
        addresses: of their memory.
        address_of: of the function of PyTorch that takes the former and gives the latter; or 0.
        samples: of single words of four bytes.
        spans: for each piece of memory its address, and its bytes.
    """

    lines: array[int]
    tensors: array[int]
    addresses: array[int]
    address_of: int
    samples: array[int]
    spans: Sequence[tuple[int, int]]


Differs = Callable[[int, int], int]
"""Whether anything is another one now; of the pieces, so many from the first one on are compared.
"""


class InPython:
    """The functions where there is no executor.

    Attributes:
        asks_addresses: whether the addresses of tensors are compared.
    """

    asks_addresses = False

    def entries(self, dicts: Sequence[dict[Any, Any]], where: tuple[int, int]) -> Any:
        """One value for all entries of dictionaries.

        Args:
            dicts: the dictionaries.
            where: the address of an array of their addresses, and its length.
        """
        values = chain.from_iterable(map(dict.values, dicts))
        return list(map(len, dicts)), list(map(id, values))

    def differs(self, seen: Seen) -> Differs:
        """What compares memory with what it is now."""

        def words() -> list[int]:
            return [ctypes.c_uint32.from_address(address).value for address in seen.samples]

        def pieces(first: int, most: int) -> list[int]:
            spans = seen.spans[first : first + most]
            return [crc32(ctypes.string_at(address, count)) for address, count in spans]

        before, checksums = words(), pieces(0, len(seen.spans))
        return lambda first, most: (
            words() != before or pieces(first, most) != checksums[first : first + most]
        )


class _Watched(ctypes.Structure):
    """As `watched` in watch.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "lines", "tensors", "address_of", "addresses", "samples", "words", "pieces"
        )),
        *((name, ctypes.c_int32) for name in ("line_count", "tensor_count", "sample_count")),
    ]  # fmt: skip


class Watching(InPython):
    """The functions of a loaded executor; the interpreter's lock is held while they run.

    Args:
        path: of the shared object, which is loaded already.
    """

    asks_addresses = True

    def __init__(self, path: Path) -> None:
        library = ctypes.PyDLL(str(path))
        pointer, number = ctypes.c_void_p, ctypes.c_int32
        self._checksum = library.convsmith_checksum
        self._checksum.argtypes, self._checksum.restype = [pointer, ctypes.c_int64], ctypes.c_uint64
        self._changed = library.convsmith_changed
        self._changed.argtypes, self._changed.restype = [pointer, number, number], number
        self._entries = library.convsmith_entries
        self._entries.argtypes = [pointer, number, pointer, number]
        self._entries.restype = ctypes.c_uint64
        follow = ctypes.cast(ctypes.pythonapi.PyDict_Next, pointer).value
        self._how = (None, _TAG) if _has_tags() else (follow, 0)

    def entries(self, dicts: Sequence[dict[Any, Any]], where: tuple[int, int]) -> Any:
        """One number for all entries of dictionaries, by their addresses."""
        return self._entries(*where, *self._how)

    def differs(self, seen: Seen) -> Differs:
        """What compares memory with what it is now."""
        words = array("I", [ctypes.c_uint32.from_address(a).value for a in seen.samples])
        pieces = array("Q")
        for address, count in seen.spans:
            pieces.extend((address, count, self._checksum(address, count)))
        lists = (seen.lines, seen.tensors, seen.addresses, seen.samples, words, pieces)
        lines, tensors, addresses, samples, *rest = (each.buffer_info()[0] for each in lists)
        record = _Watched(
            lines, tensors, seen.address_of or None, addresses, samples, *rest,
            len(seen.lines), len(seen.tensors), len(seen.samples),
        )  # fmt: skip
        changed, at = self._changed, ctypes.addressof(record)

        def differs(first: int, most: int, held: Any = (record, lists)) -> Any:
            return changed(at, first, most)

        return differs


_TAG = 24
"""Where dictionaries of some versions of Python have a number that changes with every entry."""


def _has_tags() -> bool:
    """Whether they have, by trial."""

    class Thing:
        pass

    thing = Thing()
    held = vars(thing)
    if held.__sizeof__() < _TAG + 8:
        return False
    tag = ctypes.c_uint64.from_address(id(held) + _TAG)
    seen = [tag.value]
    for change in (
        lambda: setattr(thing, "a", 1),
        lambda: setattr(thing, "a", 2),
        lambda: held.update(a=3),
        lambda: setattr(thing, "b", []),
        lambda: held.pop("b"),
        lambda: delattr(thing, "a"),
        lambda: held.update({str(number): number for number in range(50)}),
        held.clear,
    ):
        change()
        seen.append(tag.value)
    return len(set(seen)) == len(seen)
