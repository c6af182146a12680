"""Threads that run programs together."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from array import array
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.kernels.library import Library
    from convsmith.runtime.execution.sized import Runnable

__all__ = ["Team", "team"]


class Team:
    """A number of threads; they are started at the first call and end with the process.

    A call that finds them busy with another one computes alone: the result is the same.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._made: tuple[int, int] | None = None  # process, address
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            myself = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forget(myself()))

    def run(self, library: Library, program: Runnable, bases: Sequence[int]) -> None:
        """Run a program; the interpreter's lock is free meanwhile.

        Args:
            library: where it was compiled.
            program: of one thread, or of as many as there are.
            bases: the addresses that its offsets count from.

        Raises:
            ConvsmithError: for a kernel that reports a failure.
        """
        if library.executor is None:
            library.interpret(program.calls, program.arguments, bases)
            return
        held = array("Q", bases)
        _check(
            library,
            library.executor.convsmith_run(
                self.address(library), *program.where, held.buffer_info()[0]
            ),
        )

    def run_batch(
        self,
        library: Library,
        program: Runnable,
        bases: Sequence[Sequence[int]],
        memories: Sequence[int],
    ) -> bool:
        """Run a program of one thread for each image of a batch; False where the team is busy.

        Args:
            library: where it was compiled.
            program: of one thread.
            bases: for each image, the addresses that its offsets count from.
            memories: for each thread, what stands in for the first of them.

        Raises:
            ConvsmithError: for a kernel that reports a failure.
        """
        calls, length, _, arguments = program.where
        held, starts = array("Q", chain.from_iterable(bases)), array("Q", memories)
        status = library.executor.convsmith_run_batch(
            self.address(library),
            calls,
            length,
            arguments,
            held.buffer_info()[0],
            len(bases[0]),
            len(bases),
            starts.buffer_info()[0],
        )
        assert library.abi is not None
        if status == library.abi.busy:
            return False
        _check(library, status)
        return True

    def address(self, library: Library) -> int:
        """Where the executor keeps it; the threads are started.

        Raises:
            ConvsmithError: where the system has no memory or locks for them.
        """
        if self._made is None:
            with self._lock:
                if self._made is None:
                    address = library.executor.convsmith_team(self.threads)
                    if not address:
                        raise ConvsmithError(
                            f"the system has no memory or locks for {self.threads} threads"
                        )
                    self._made = os.getpid(), address
                    end = weakref.finalize(self, _free, library.executor, *self._made)
                    end.atexit = False  # a daemon thread may still be in a call
        return self._made[1]


def _check(library: Library, status: int) -> None:
    if not status:
        return
    abi = library.abi
    if abi is not None and status == abi.refused:
        raise ConvsmithError(
            f"a program was refused: a call has more than {abi.max_arguments} arguments, "
            f"or a buffer more than {abi.max_dims} dimensions"
        )
    raise ConvsmithError(f"a kernel failed with status {status}: is memory exhausted?")


@cache
def team(threads: int) -> Team:
    """The team of so many threads: one for the whole process."""
    return Team(threads)


def _forget(team: Team | None) -> None:
    """In a child the threads are the parent's, and a lock may be held by one of them."""
    if team is not None:
        team._made, team._lock = None, threading.Lock()


def _free(executor: ctypes.CDLL, process: int, address: int) -> None:
    if process == os.getpid():
        executor.convsmith_team_free(address)
