"""Room on the disk: asked for before a run, and taken where a full disk could not be reported."""

from __future__ import annotations

import os
import shutil
from typing import Any

from convsmith.errors import DataError

__all__ = ["check_room", "reserve"]


def check_room(path: str, size: int) -> None:
    """Refuse what does not fit the disk.

    Raises:
        DataError: naming both sizes.
    """
    if "://" in path:
        return
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{path} may take {size / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free: "
            "choose another disk, or reduce= to a smaller type"
        )


def reserve(path: str, array: Any, fill: float) -> Any:
    """Take the room of a memory map at once, and fill it.

    A disk that fills up while a map is written ends the process without a word (SIGBUS).

    Raises:
        OSError: where there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    if fill:
        array[...] = fill
    return array
