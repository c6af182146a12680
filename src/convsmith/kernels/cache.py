"""Machine code kept in a folder of the user: written at once, checked before each use."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from convsmith.errors import ConvsmithError
from convsmith.machine import CACHE, cache_folder, cache_problem, is_private

__all__ = ["Cache", "content_of"]

_TRAILER = b"convsmith sha256 "
_DIGEST = 64  # characters
_UNFINISHED = ".unfinished-"
_ABANDONED = 3600  # seconds after which an unfinished file counts as abandoned
_ROOM, _ZEROS = 4 * 2**20, bytes(2**20)
"""Bytes that are tried: a kernel takes tens of kilobytes, and compilers write several files."""


class Cache:
    """Files by key, made when they are missing, damaged or cannot be trusted.

    The SHA-256 of a file follows its content: a loader of shared objects does not look past the
    last section, and a file and its check cannot come apart. A file or folder that another user
    owns or may write is not used.

    Attributes:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
        """The file for a key; `make` writes its content to a path of its own if need be.

        Two processes may make the same file at once: each writes its own and the last one stays.

        Raises:
            ConvsmithError: where not even a temporary file can be written.
        """
        name = f"{key}{suffix}"
        if is_private(self.root) and _sound(self.root / name):
            return self.root / name
        if name in _PRIVATE:
            return _PRIVATE[name]
        try:
            with tempfile.TemporaryDirectory(prefix="convsmith-", dir=self._roomy()) as scratch:
                fresh = Path(scratch) / name
                make(fresh)
                content = fresh.read_bytes()
            return self._keep(name, content + _TRAILER + sha256(content).hexdigest().encode())
        except OSError as error:
            raise ConvsmithError(f"no room for kernels: {error}; set TMPDIR") from error

    def _roomy(self) -> str | None:
        """A folder with room for what compilers write: LLVM ends the process where there is none.

        Raises:
            OSError: where none of them has.
        """
        problem: OSError | None = None
        for folder in (None, self.root, Path("/dev/shm")):
            if folder is not None and not folder.is_dir():
                continue
            try:
                with tempfile.TemporaryFile(prefix=_UNFINISHED, dir=folder) as trial:
                    for _ in range(_ROOM // len(_ZEROS)):
                        trial.write(_ZEROS)
                    trial.flush()
                return None if folder is None else str(folder)
            except OSError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _keep(self, name: str, content: bytes) -> Path:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not is_private(self.root):
                raise PermissionError("others may write to it")
            _sweep(self.root)
            kept = _write(self.root / name, content)
            if self.root == cache_folder() and (problem := cache_problem()):
                self._warn(problem)
            return kept
        except OSError as error:
            reason = error.strerror or error
            self._warn(f"kernels are not kept in {self.root}: {reason}; set {CACHE}")
        # A file that is loaded already must not change: it is made once.
        return _PRIVATE.setdefault(name, _write(_private() / name, content))

    def _warn(self, message: str) -> None:
        """Warn once per folder."""
        if self.root not in _WARNED:
            _WARNED.add(self.root)
            warnings.warn(message, RuntimeWarning, stacklevel=4)


def _write(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=_UNFINISHED, suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _sweep(root: Path) -> None:
    """Remove what killed processes have left."""
    for path in root.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _sound(path: Path) -> bool:
    return content_of(path) is not None


def content_of(path: Path) -> bytes | None:
    """What was kept in a file; None for one that is missing, damaged or not to be trusted."""
    # A pipe would keep its reader waiting.
    if not (is_private(path) and path.is_file()):
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    end = len(content) - _DIGEST
    start = end - len(_TRAILER)
    if start <= 0 or content[start:end] != _TRAILER:
        return None
    kept = content[:start]
    return kept if sha256(kept).hexdigest().encode() == content[end:] else None


@cache
def _private() -> Path:
    """A folder of this process alone, for when the cache cannot be written."""
    kept = tempfile.TemporaryDirectory(prefix="convsmith-kernels-")
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
_PRIVATE: dict[str, Path] = {}
_WARNED: set[Path] = set()
