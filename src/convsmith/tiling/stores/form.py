"""What a target is: the form of an array, and an array of that form that takes parts."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError, DataError, first_line
from convsmith.tiling.spans import Spans, slices

__all__ = ["Form", "Target", "is_full", "unwritten"]


@dataclass(frozen=True)
class Form:
    """An array to be written.

    Attributes:
        shape: in the order of `layout`.
        dtype: its name.
        layout: letters for its dimensions.
        unit: the shape of what one writer writes at once.
        fill: what stands where nothing is written.

    Raises:
        ArgumentError: for a fill that its type does not hold.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str
    unit: tuple[int, ...]
    fill: float = 0

    def __post_init__(self) -> None:
        kind = np.dtype(self.dtype)
        fits = isinstance(self.fill, Real)
        if fits and kind.kind in "ui":
            limits = np.iinfo(kind)
            fits = limits.min <= self.fill <= limits.max and self.fill == int(self.fill)
        if not fits:
            raise ArgumentError(f"fill={self.fill!r} is not a value of {self.dtype}")

    @property
    def bytes(self) -> int:
        """Its size without compression."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(eq=False)
class Target:
    """An array that is open for writing.

    Attributes:
        path: where it is; '' in memory.
        form: what it is.
        array: takes slices.
    """

    path: str
    form: Form
    array: Any = field(repr=False)

    def write(self, spans: Spans, values: NDArray[Any]) -> None:
        """Write one part.

        Raises:
            DataError: where the disk is full, or the store refuses.
        """
        try:
            self.array[slices(spans)] = values
        except OSError as error:
            raise unwritten(self.path, error) from error

    def read(self, spans: Spans) -> NDArray[Any]:
        """Read a part back."""
        return np.asarray(self.array[slices(spans)])

    def flush(self) -> None:
        """Hand what is written to the system.

        Raises:
            DataError: where the disk is full.
        """
        if hasattr(self.array, "flush"):
            try:
                self.array.flush()
            except OSError as error:
                raise unwritten(self.path, error) from error


def is_full(error: OSError) -> bool:
    """Whether it says that there is no more room: on the disk, of a quota, or for one file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritten(path: str, error: OSError) -> DataError:
    """What a user reads when a target cannot be written: a full disk can be mended."""
    if is_full(error):
        return DataError(f"no room left for {path}: free some and run the same again with resume")
    return DataError(f"{path} cannot be written: {first_line(error)}")
