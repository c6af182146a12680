"""An end to captures that take too long."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ["Patience"]

_SECONDS = 20.0
"""Of this thread's processor time: ten times what most captures take."""


class Patience(TorchFunctionMode):
    """A context in which torch's functions raise `TimeoutError` once too much time was spent.

    PyTorch simplifies what follows from open sizes with SymPy. For some networks, such as those
    that attend in windows, that takes minutes, where a capture of fixed sizes takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._end = thread_time() + _SECONDS

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if thread_time() > self._end:
            raise TimeoutError(f"not captured within {_SECONDS:g} seconds")
        return func(*args, **(kwargs or {}))
