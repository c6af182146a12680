"""One at a time: torch traces one model in a process at a time, and every page is a thread."""

from __future__ import annotations

from threading import RLock

__all__ = ["alone"]

alone = RLock()
