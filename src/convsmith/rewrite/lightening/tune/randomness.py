"""Where random numbers are: PyTorch's, and those of Python and NumPy that data may be made with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["Stream", "random_state", "restore"]


def random_state() -> dict[str, Any]:
    """The state of all global random numbers, as tensors and plain values."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, np.int64)), *rest),
    }


def restore(state: dict[str, Any]) -> None:
    """Go back to a state."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))


class Stream:
    """Random numbers that go their own way from here on.

    >>> stream, numbers = Stream(), []
    >>> for _ in range(2):
    ...     with stream.drawn():
    ...         numbers.append(float(torch.rand(())))
    >>> numbers[0] == float(torch.rand(())), numbers[1] == float(torch.rand(()))
    (True, True)
    """

    def __init__(self) -> None:
        self._state = random_state()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from this stream, and leave the global one as it was."""
        outside = random_state()
        restore(self._state)
        try:
            yield
        finally:
            self._state = random_state()
            restore(outside)
