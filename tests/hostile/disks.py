"""Small disks: file systems of a few hundred kilobytes, on which some pages are free."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["pages_free", "small_disk"]

_FILLER = ".filler"


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount one, where this user may; the test is skipped, with the reason, where not."""
    folder.mkdir()
    if shutil.which("mount") is None or os.name != "posix" or os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def pages_free(disk: Path, pages: int) -> Iterator[None]:
    """Fill a disk up to so many pages, and free it again."""
    filler = disk / _FILLER
    status = os.statvfs(disk)
    filler.write_bytes(bytes(max(0, status.f_bavail - pages) * status.f_frsize))
    try:
        yield
    finally:
        filler.unlink()
