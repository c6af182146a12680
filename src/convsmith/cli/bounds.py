"""Numbers on the command line that cost memory or time, held to what a machine can do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convsmith.errors import ArgumentError
from convsmith.machine import memory
from convsmith.text import times

__all__ = ["fits", "within"]


def within(name: str, value: int | None, low: int, high: int) -> None:
    """Refuse a number outside of its bounds; None is one that was not given.

    >>> within("--images", 512, 1, 1000)
    >>> within("--images", -5, 1, 1000)
    Traceback (most recent call last):
    convsmith.errors.ArgumentError: --images must be from 1 to 1,000, not -5
    """
    if value is not None and not low <= value <= high:
        shown = str(value) if abs(value) < 1 << 64 else f"a number of {value.bit_length()} bits"
        raise ArgumentError(f"{name} must be from {low:,} to {high:,}, not {shown}")


def fits(name: str, shape: Sequence[int], bytes_each: int = 4) -> None:
    """Refuse a tensor that this machine's memory cannot hold, before it is asked for.

    >>> fits("--input", (1, 3, 224, 224))
    """
    needed = math.prod(shape) * bytes_each
    if needed > memory():
        raise ArgumentError(
            f"{name} {times(shape)} takes {needed / 1e9:,.0f} GB, this machine has "
            f"{memory() / 1e9:,.0f} GB of memory"
        )
