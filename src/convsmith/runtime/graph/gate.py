"""The end of the process, while daemon threads compute.

PyTorch ends a process with `abort` when a daemon thread leaves one of its functions after Python
has begun to shut down: the thread is unwound through C++ that does not allow it (measured with
PyTorch alone: 25 of 25 processes). So no call is inside PyTorch then: those under way are waited
for, and daemon threads that come later wait for the end. To let go of a result leaves PyTorch, too,
and happens outside: a thread that has just left is given a moment to come back and be held.
"""

from __future__ import annotations

import atexit
import os
import threading

__all__ = ["Gate", "gate"]

_PATIENCE = 60.0
"""Seconds: a call that takes longer is left to its fate, so that the process ends at all."""

_GRACE = 0.5
"""Seconds for daemon threads that have called before, and may call in a loop, to come back."""


class Gate:
    """Knows the threads inside; once closed it holds daemon threads for good.

    >>> gate = Gate()
    >>> gate.enter()
    >>> len(gate.inside)
    1
    >>> gate.leave()
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: in a child no other thread is inside, and one may have held the lock."""
        self.inside: list[int] = []
        self._known: set[int] = set()
        self._held: set[int] = set()
        self.closed = False
        self._changed = threading.Condition(threading.Lock())

    def enter(self) -> None:
        """Be inside from now on; a call within a call is let in."""
        # The thread that closes it sees this entry, or this thread sees that it is closed: no lock
        # is needed, which counts in calls of less than a millisecond.
        myself = threading.get_ident()
        self.inside.append(myself)
        self._known.add(myself)
        if self.closed:
            self._wait(myself)

    def leave(self) -> None:
        """Be outside again."""
        self.inside.remove(threading.get_ident())
        if self.closed:
            with self._changed:
                self._changed.notify_all()

    def close(self) -> None:
        """Let no daemon thread in any more, and wait for the calls under way."""
        with self._changed:
            self.closed = True
            self._changed.wait_for(lambda: not self.inside, _PATIENCE)
            self._changed.wait_for(lambda: self._daemons() <= self._held, _GRACE)

    def _daemons(self) -> set[int | None]:
        """Of the daemon threads that live, those that have been inside."""
        living = {thread.ident for thread in threading.enumerate() if thread.daemon}
        return living.intersection(self._known)

    def _wait(self, myself: int) -> None:
        if threading.current_thread().daemon and self.inside.count(myself) == 1:
            self.leave()
            with self._changed:
                self._held.add(myself)
                self._changed.notify_all()
                while self.closed:
                    self._changed.wait()
            self.enter()


gate = Gate()
"""The one of this process."""

atexit.register(gate.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gate.renew)
