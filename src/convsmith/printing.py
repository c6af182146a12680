"""What models print while they are traced: the command line keeps it out of its reports.

The library never touches standard output, which belongs to the caller and is shared by all of its
threads. A process that owns its output may say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

__all__ = ["kept_back", "prints_kept_back"]

_asked: list[None] = []


@contextmanager
def prints_kept_back() -> Iterator[None]:
    """Have `kept_back` keep back what models print: for a process that owns its output."""
    _asked.append(None)
    try:
        yield
    finally:
        _asked.pop()


@contextmanager
def kept_back() -> Iterator[None]:
    """Keep back what is printed, if this process asked for it; otherwise do nothing.

    >>> with prints_kept_back(), kept_back():
    ...     print("a model that prints in its forward pass")
    """
    with ExitStack() as stack:
        if _asked:
            stack.enter_context(redirect_stdout(StringIO()))
            stack.enter_context(redirect_stderr(StringIO()))
        yield
