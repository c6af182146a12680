"""The lock under which graphs are captured and kernels compiled."""

from __future__ import annotations

import os
import threading

__all__ = ["LOCK"]

LOCK = threading.RLock()
"""Held while a graph is captured or kernels are compiled: `torch.export` serves one at a time."""
if hasattr(os, "register_at_fork"):
    # A child must not inherit it from a thread that it has not got.
    os.register_at_fork(
        before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release
    )
