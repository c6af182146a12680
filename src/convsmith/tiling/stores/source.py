"""Sources: images that are read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError, DataError, first_line
from convsmith.tiling.spans import Spans, volume
from convsmith.tiling.stores.layout import SPATIAL

__all__ = ["Source", "check_level"]

_PIECE = 1 << 26
"""Bytes of an array that are hashed at once where its fingerprint is taken."""


def check_level(name: str, level: Any, levels: int) -> None:
    """Raise an `ArgumentError` for a level that an image does not have; most have one, 0."""
    if isinstance(level, bool) or not isinstance(level, int):
        raise ArgumentError(f"level must be an integer, not {level!r}")
    if not 0 <= level < levels:
        has = f"{levels} levels" if levels > 1 else "one level"
        raise ArgumentError(f"{name} has {has}; there is no level {level}")


@dataclass(eq=False)
class Source:
    """An array of images that is read part by part.

    Attributes:
        array: anything with `shape`, `dtype` and slices: numpy, a memory map, Zarr.
        layout: which dimension is which.
        name: for messages.
        opener: the path and options it was opened with, so that another process can open it;
            None for an array in memory.
        block: the shape of what is decoded at once, in the array's own order; () if any part is
            read by itself.
        decoded: whether the whole array was decoded into memory.
    """

    array: Any
    layout: str
    name: str = "the image"
    opener: tuple[str, dict[str, Any]] | None = None
    block: tuple[int, ...] = ()
    decoded: bool = False
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.array.shape[self.layout.index("N")]) if "N" in self.layout else 1

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return int(self.array.shape[self.layout.index("C")]) if "C" in self.layout else 1

    @property
    def size(self) -> tuple[int, ...]:
        """The lengths of the spatial axes."""
        return tuple(
            int(length)
            for letter, length in zip(self.layout, self.array.shape, strict=True)
            if letter not in "NC"
        )

    @property
    def rows(self) -> int:
        """How many rows are decoded at once."""
        if not self.block or self.decoded:
            return 1
        return int(self.block[self.layout.index("Y")])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a value."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind

    def read(self, image: int, spans: Spans) -> NDArray[Any]:
        """All channels of a part of an image: (channels, *spatial).

        Raises:
            DataError: if the store is damaged.
        """
        space = SPATIAL[len(spans)]
        place = {"N": image, "C": slice(None)} | {
            letter: slice(*span) for letter, span in zip(space, spans, strict=True)
        }
        try:
            part = np.asarray(self.array[tuple(place[letter] for letter in self.layout)])
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # each decoder has errors of its own
            raise DataError(
                f"{self.name} cannot be read at {spans}: {first_line(error)}"
            ) from error
        kept = [letter for letter in self.layout if letter != "N"]
        if "C" not in kept:
            kept, part = ["C", *kept], part[None]
        return part.transpose([kept.index(letter) for letter in "C" + space])

    def decoded_bytes(self, spans: Spans) -> int:
        """Bytes that are decoded to read a part: whole blocks."""
        if not self.block or self.decoded:
            return volume(spans) * self.channels * self.dtype.itemsize
        rest = iter(spans)
        total = self.dtype.itemsize
        for letter, length, block in zip(self.layout, self.array.shape, self.block, strict=True):
            if letter == "N":
                total *= block
            elif letter == "C":
                total *= -(-length // block) * block
            else:
                start, stop = next(rest)
                total *= (-(-stop // block) - start // block) * block
        return total

    def fingerprint(self) -> str:
        """A hash by which a resumed run knows its input.

        Of an array all values count, piece by piece. Of a file its path, size and time of change
        count; of a folder those of all its files; of a URL nothing but the URL and the shape.
        """
        digest = blake2b(digest_size=16)
        digest.update(repr((self.array.shape, str(self.dtype), self.layout)).encode())
        if self.opener is not None:
            path, options = self.opener
            settings = {name: value for name, value in options.items() if name != "memory"}
            digest.update(repr((path, settings, self.tags)).encode())
        else:
            for piece in _pieces(self.array, self.dtype.itemsize):
                digest.update(np.ascontiguousarray(piece).tobytes())
        return digest.hexdigest()

    def require(self, channels: int, dims: int) -> None:
        """Refuse an image that the network does not take.

        Raises:
            ArgumentError: naming what differs.
        """
        if len(self.size) != dims or self.channels != channels:
            raise ArgumentError(
                f"{self.name} has {self.channels} channels and {len(self.size)} axes, "
                f"but the network takes {channels} channels and {dims} axes"
            )
        if min(self.array.shape, default=0) < 1:
            raise ArgumentError(f"{self.name} is empty: shape {tuple(self.array.shape)}")
        if self.dtype.kind not in "buif":
            raise ArgumentError(f"{self.name} holds {self.dtype}, not numbers")


def _pieces(array: Any, itemsize: int) -> Iterator[NDArray[Any]]:
    """All values in order, in pieces of bounded size: of a store that is not read at once."""
    shape = tuple(map(int, array.shape))
    rows = _PIECE // max(1, prod(shape[1:]) * itemsize)
    if rows or len(shape) < 2:
        step = max(1, rows)
        for start in range(0, shape[0], step):
            yield np.asarray(array[start : start + step])
        return
    for index in range(shape[0]):
        yield from _pieces(_Row(array, index), itemsize)


class _Row:
    """One index along the first dimension of an array, not read yet."""

    def __init__(self, array: Any, index: int) -> None:
        self.array, self.index, self.shape = array, index, array.shape[1:]

    def __getitem__(self, where: Any) -> Any:
        rest = where if isinstance(where, tuple) else (where,)
        return self.array[(self.index, *rest)]
