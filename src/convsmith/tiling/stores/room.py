"""Room on the disk: asked for before a run, and taken where a full disk could not be reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from typing import Any

from convsmith.errors import DataError
from convsmith.tiling.stores.form import is_full, unwritten

__all__ = ["check_room", "placed"]


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


def placed(path: str, fill: float, make: Callable[[str], Any]) -> None:
    """Make a file of its full size under a name of its own, and move it where it belongs.

    Its blocks are reserved: a mapped file that meets a full disk would end the process.

    Args:
        path: where it belongs.
        fill: what stands where nothing is written.
        make: makes a memory map at a path.

    Raises:
        DataError: where there is no room; nothing is left of the file.
    """
    draft = os.path.join(os.path.dirname(path), f".{token_hex(8)}.part")
    try:
        array = make(draft)
        with open(draft, "r+b") as file:
            _reserve(file.fileno(), path)
        if fill:
            array[...] = fill
        array.flush()
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.remove(draft)
        raise


def _reserve(handle: int, path: str) -> None:
    """Ask for the blocks of a file, where the system can."""
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size)
    except AttributeError:  # macOS, Windows
        return
    except OSError as error:
        if is_full(error):
            raise unwritten(path, error) from None
