"""The end of the process, while daemon threads compute.

PyTorch ends a process with `abort` when a daemon thread leaves one of its functions after Python
has begun to shut down: the thread is unwound through C++ that does not allow it (measured with
PyTorch alone: 25 of 25 processes). So no call is inside PyTorch then: those under way are waited
for, and daemon threads that come later wait for the end.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate", "gate"]

_PATIENCE = 60.0
"""Seconds: a call that takes longer is left to its fate, so that the process ends at all."""


class Gate:
    """Knows the threads inside; once closed it holds daemon threads for good.

    >>> gate = Gate()
    >>> with gate.passed():
    ...     len(gate.inside)
    1
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: in a child no other thread is inside, and one may have held the lock."""
        self.inside: list[int] = []
        self.closed = False
        self._changed = threading.Condition(threading.Lock())

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside while a call runs; a call within a call is let in."""
        myself = threading.get_ident()
        with self._changed:
            while self.closed and self._is_held(myself):
                self._changed.wait()
            self.inside.append(myself)
        try:
            yield
        finally:
            with self._changed:
                self.inside.remove(myself)
                if self.closed:
                    self._changed.notify_all()

    def close(self) -> None:
        """Let no daemon thread in any more, and wait for the calls under way."""
        with self._changed:
            self.closed = True
            self._changed.wait_for(lambda: not self.inside, _PATIENCE)

    def _is_held(self, thread: int) -> bool:
        return threading.current_thread().daemon and thread not in self.inside


gate = Gate()
"""The one of this process."""

atexit.register(gate.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gate.renew)
