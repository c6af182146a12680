"""Progress where nothing can be drawn over: a line now and then, on standard error."""

from __future__ import annotations

import sys
from time import monotonic

__all__ = ["Lines"]


class Lines:
    """Prints what is being done when it begins, and how far it is while it lasts.

    Work that is over soon prints nothing: an error would be lost among the lines before it.

    Args:
        every: seconds between two lines about the same thing.
        patience: seconds of work before the first line.
    """

    def __init__(self, every: float = 5.0, patience: float = 10.0) -> None:
        self._every = every
        self._begin = monotonic() + patience
        self._what = ""
        self._last = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        """Take note of progress; `of` is 0 where the number is unknown."""
        now = monotonic()
        if now < self._begin:
            return
        if what == self._what and now - self._last < self._every:
            return
        total = f"/{of}" if of else ""
        far = f": {done}{total}" if what == self._what or done > 1 else ""
        print(f"{what}{far}", file=sys.stderr, flush=True)
        self._what, self._last = what, now
