"""Machine code kept in a folder of the user: written at once, checked before each use."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

__all__ = ["Cache", "folder"]

_TRAILER = b"convsmith sha256 "
_DIGEST = 64  # characters


class Cache:
    """Files by key, made when they are missing, damaged or cannot be trusted.

    The SHA-256 of a file follows its content: a loader of shared objects does not look past the
    last section, and a file and its check cannot come apart. A file that somebody else owns or may
    write is not used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
        """The file for a key; `make` writes its content to a path of its own if need be.

        Two processes may make the same file at once: each writes its own and the last one stays.
        """
        path = self.root / f"{key}{suffix}"
        if _sound(path):
            return path
        with tempfile.TemporaryDirectory(prefix="convsmith-") as scratch:
            fresh = Path(scratch) / path.name
            make(fresh)
            content = fresh.read_bytes()
        return self._keep(path, content + _TRAILER + sha256(content).hexdigest().encode())

    def _keep(self, path: Path, content: bytes) -> Path:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=self.root)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(name, path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            warnings.warn(f"kernels are not kept: {error}", RuntimeWarning, stacklevel=2)
            path = _private() / path.name
            path.write_bytes(content)
        return path


def folder() -> Path:
    """Where kernels are kept: `CONVSMITH_CACHE`, else the user's cache folder (XDG)."""
    if named := os.environ.get("CONVSMITH_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "convsmith" / "kernels"


def _sound(path: Path) -> bool:
    try:
        status = path.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
            return False
        content = path.read_bytes()
    except OSError:
        return False
    end = len(content) - _DIGEST
    start = end - len(_TRAILER)
    if start <= 0 or content[start:end] != _TRAILER:
        return False
    return sha256(content[:start]).hexdigest().encode() == content[end:]


@cache
def _private() -> Path:
    """A folder of this process alone, for when the cache cannot be written."""
    kept = tempfile.TemporaryDirectory(prefix="convsmith-kernels-")
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
