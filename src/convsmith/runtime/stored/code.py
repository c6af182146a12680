"""Machine code out of a file: loaded only where its origin is trusted."""

from __future__ import annotations

import ctypes
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError, ModelError
from convsmith.kernels.abi import Abi, declare, read_abi
from convsmith.kernels.cache import Cache
from convsmith.machine import cache_folder
from convsmith.runtime.execution.team import Team

__all__ = ["Code"]


class Code:
    """An executor and the kernels that it calls.

    Args:
        executor: a shared object.

    Attributes:
        executor: the loaded one; the same content is loaded once in a process.
        abi: what it agrees on with this side.

    Raises:
        ConvsmithError: for an executor of another version.
    """

    def __init__(self, executor: bytes) -> None:
        self._digest = sha256(executor).hexdigest()
        # Kernels find in here what they ask of a runtime.
        self.executor: Any = _loaded(self._digest, executor, ctypes.RTLD_GLOBAL)
        self.abi: Abi = read_abi(self.executor, "the executor in the file")
        declare(self.executor)

    def team(self, threads: int) -> Team:
        """So many threads that run programs of this executor."""
        return _team(self._digest, threads)

    def address(self, name: str) -> int:
        """The address of a function of the executor that is called like a kernel."""
        if name not in _OWN:
            raise ModelError(f"the executor has no kernel {name[:40]!r}")
        return _address(self.executor, _OWN[name])

    def kernel(self, name: str, content: bytes) -> int:
        """The address of the function of a kernel."""
        loaded = _loaded(sha256(content).hexdigest(), content, ctypes.DEFAULT_MODE)
        return _address(loaded, f"{name}_argv")


_OWN = {name: f"convsmith_{name}" for name in ("fill", "pack", "unpack")}

_LOADED: dict[str, ctypes.CDLL] = {}
"""By digest; a function is valid as long as its object is loaded."""


def _loaded(digest: str, content: bytes, mode: int) -> ctypes.CDLL:
    known = _LOADED.get(digest)
    if known is not None:
        return known

    def make(path: Path) -> None:
        path.write_bytes(content)

    # Never under the name of a kernel that was made here: whoever trusts a file trusts it alone.
    path = Cache(cache_folder()).get(f"stored-{digest}", ".so", make)
    try:
        return _LOADED.setdefault(digest, ctypes.CDLL(str(path), mode=mode))
    except OSError as error:
        raise ConvsmithError(f"{path} cannot be loaded: {error}; set CONVSMITH_CACHE") from error


@cache
def _team(executor: str, threads: int) -> Team:
    return Team(threads)


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        function = getattr(library, name)
    except AttributeError:
        raise ModelError(f"the machine code in the file has no {name[:80]!r}") from None
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
