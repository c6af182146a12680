"""One run at a time: locks on files and folders, which end with the process that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convsmith.errors import ArgumentError

__all__ = ["alone"]

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def alone(path: Path, busy: str = "", *, shared: bool = False) -> Iterator[None]:
    """Hold a lock while the block lasts; where the system has none, the block runs all the same.

    Args:
        path: a folder, or a file, which is made if need be; never the target of a link.
        busy: what to say if another process or thread has the lock; without it, wait for it.
        shared: whether others may share it: only one that does not share is kept out.

    Raises:
        ArgumentError: with `busy`, if another has the lock.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, alone(Path(folder), "in use"):
    ...     with alone(Path(folder), "in use"):
    ...         pass
    Traceback (most recent call last):
    convsmith.errors.ArgumentError: in use
    """
    try:
        import fcntl

        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        handle = os.open(path, flags | _NO_FOLLOW, 0o666)
    except (ImportError, OSError):  # Windows, or a folder that cannot be opened
        yield
        return
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, kind | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise ArgumentError(busy) from None
        except OSError:  # a file system that has no locks
            pass
        yield
    finally:
        os.close(handle)
