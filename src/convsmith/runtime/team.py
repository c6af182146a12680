"""Threads that run programs together."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.kernels.library import Library
    from convsmith.runtime.program import Program

__all__ = ["Team"]


class Team:
    """A number of threads; they are started at the first call and end with the team.

    A call that finds them busy with another one computes alone: the result is the same.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._made: tuple[int, int] | None = None  # process, address

    def run(self, library: Library, program: Program, bases: Sequence[int]) -> None:
        """Run a program; the interpreter's lock is free meanwhile.

        Raises:
            ConvsmithError: for a kernel that reports a failure.
        """
        places = np.array(bases, np.uint64)
        status = library.executor.convsmith_run(
            self._address(library),
            program.calls.ctypes.data,
            program.calls.shape[1],
            program.threads,
            program.arguments.ctypes.data,
            places.ctypes.data,
        )
        if status:
            raise ConvsmithError(f"a kernel failed with status {status}: is memory exhausted?")

    def _address(self, library: Library) -> int:
        # After a fork the threads are the parent's: the child starts its own.
        if self._made is None or self._made[0] != os.getpid():
            address = library.executor.convsmith_team(self.threads)
            if not address:
                raise ConvsmithError(f"no memory for {self.threads} threads")
            self._made = os.getpid(), address
            weakref.finalize(self, _free, library.executor, *self._made)
        return self._made[1]


def _free(executor: ctypes.CDLL, process: int, address: int) -> None:
    if process == os.getpid():
        executor.convsmith_team_free(address)
