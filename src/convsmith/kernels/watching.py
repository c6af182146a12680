"""Comparing dictionaries and memory with what they were: functions of the executor, or Python's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

__all__ = ["InPython", "Watching"]

_NEXT = ctypes.cast(ctypes.pythonapi.PyDict_Next, ctypes.c_void_p).value


class InPython:
    """The functions where there is no executor."""

    prefetch: Any = None

    def entries(self, dicts: Sequence[dict[Any, Any]], where: tuple[int, int]) -> Any:
        """One value for all entries of dictionaries.

        Args:
            dicts: the dictionaries.
            where: the address of an array of their addresses, and its length.
        """
        values = chain.from_iterable(map(dict.values, dicts))
        return list(map(len, dicts)), list(map(id, values))

    def sampled(self, places: int, count: int) -> int:
        """One number for single words, of an array of so many addresses."""
        addresses = (ctypes.c_uint64 * count).from_address(places) if count else ()
        return hash(tuple(ctypes.c_uint32.from_address(a).value for a in addresses))

    def checksum(self, words: int, count: int) -> int:
        """One number for so many words from an address on."""
        return crc32(ctypes.string_at(words, 4 * count))

    def unchanged(self, pieces: int, count: int, first: int, most: int) -> int:
        """How many pieces are what they were, of so many from the first one on.

        Args:
            pieces: the address of an array of (address, words, checksum).
            count: its length.
            first: where to begin; it goes on from the end to the start.
            most: how many to look at.
        """
        held = (ctypes.c_uint64 * (3 * count)).from_address(pieces)
        for number in range(most):
            place = 3 * ((first + number) % count)
            if self.checksum(held[place], held[place + 1]) != held[place + 2]:
                return number
        return most


class Watching(InPython):
    """The functions of a loaded executor; the interpreter's lock is held while they run.

    Args:
        path: of the shared object, which is loaded already.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.PyDLL(str(path))
        pointer, number, large = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
        for name, result, *types in (
            ("checksum", ctypes.c_uint64, pointer, large),
            ("entries", ctypes.c_uint64, pointer, number, pointer),
            ("prefetch", None, pointer, number),
            ("sampled", ctypes.c_uint64, pointer, number),
            ("unchanged", number, pointer, number, number, number),
        ):
            function = getattr(library, f"convsmith_{name}")
            function.argtypes, function.restype = types, result
            setattr(self, f"_{name}" if name == "entries" else name, function)

    def entries(self, dicts: Sequence[dict[Any, Any]], where: tuple[int, int]) -> Any:
        """One number for all entries of dictionaries, by their addresses."""
        return self._entries(*where, _NEXT)  # type: ignore[attr-defined]
