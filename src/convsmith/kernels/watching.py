"""Comparing dictionaries and memory with what they were: functions of the executor, or Python's."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

__all__ = ["Comparison", "InPython", "Seen", "Watching"]


@dataclass(frozen=True)
class Seen:
    """What is to be compared; all lists are arrays of addresses.

    Attributes:
        lines: of memory that will be looked at.
        tensors: of tensors, as objects of Python.
        forms: no addresses, but what is to be compared with their forms, one after the other.
        addresses: of their memory.
        asked: of what the executor asks tensors with.
        samples: of single words of four bytes.
        spans: for each piece of memory its address, and its bytes.
    """

    lines: array[int]
    tensors: array[int]
    forms: array[int]
    addresses: array[int]
    asked: int
    samples: array[int]
    spans: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Comparison:
    """What compares memory with what it was.

    Attributes:
        differs: whether anything is another one now; of the pieces, so many from the first one on
            are compared.
        at: the address of what `convsmith_changed` takes, or 0.
        held: what lies there.
    """

    differs: Callable[[int, int], int]
    at: int = 0
    held: Any = None


class InPython:
    """The functions where there is no executor.

    Attributes:
        asks_tensors: whether their forms and addresses are compared.
        tag: where dictionaries have a number that changes with every entry; 0 where they have none.
    """

    asks_tensors = False
    tag = 0

    def entries(self, dicts: Sequence[dict[Any, Any]], places: array[int]) -> Any:
        """One value for all entries of dictionaries.

        Args:
            dicts: the dictionaries.
            places: their addresses.
        """
        values = chain.from_iterable(map(dict.values, dicts))
        return list(map(len, dicts)), list(map(id, values))

    def compare(self, seen: Seen) -> Comparison:
        """What compares memory with what it is now."""

        def words() -> list[int]:
            return [ctypes.c_uint32.from_address(address).value for address in seen.samples]

        def pieces(first: int, most: int) -> list[int]:
            spans = seen.spans[first : first + most]
            return [crc32(ctypes.string_at(address, count)) for address, count in spans]

        before, checksums = words(), pieces(0, len(seen.spans))
        return Comparison(
            lambda first, most: (
                words() != before or pieces(first, most) != checksums[first : first + most]
            )
        )


class _Watched(ctypes.Structure):
    """As `watched` in watch.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "lines", "asked", "tensors", "forms", "addresses", "samples", "words", "pieces"
        )),
        *((name, ctypes.c_int32) for name in ("line_count", "tensor_count", "sample_count")),
    ]  # fmt: skip


class Watching(InPython):
    """The functions of a loaded executor; the interpreter's lock is held while they run.

    Args:
        path: of the shared object, which is loaded already.
    """

    asks_tensors = True

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
        self.tag = _TAG if _has_tags() else 0
        follow = ctypes.cast(ctypes.pythonapi.PyDict_Next, pointer).value
        self._follow = None if self.tag else follow

    def entries(self, dicts: Sequence[dict[Any, Any]], places: array[int]) -> Any:
        """One number for all entries of dictionaries, by their addresses."""
        return self._entries(*places.buffer_info(), self._follow, self.tag)

    def compare(self, seen: Seen) -> Comparison:
        """What compares memory with what it is now."""
        words = array("I", [ctypes.c_uint32.from_address(a).value for a in seen.samples])
        pieces = array("Q")
        for address, count in seen.spans:
            pieces.extend((address, count, self._checksum(address, count)))
        tensors = seen.tensors if seen.asked else array("Q")
        lists = (tensors, seen.forms, seen.addresses, seen.samples, words, pieces)
        record = _Watched(
            seen.lines.buffer_info()[0], seen.asked,
            *(each.buffer_info()[0] for each in lists),
            len(seen.lines), len(tensors), len(seen.samples),
        )  # fmt: skip
        at = ctypes.addressof(record)
        return Comparison(partial(self._changed, at), at, (record, seen.lines, *lists))


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
