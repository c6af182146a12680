"""What a region keeps for one size of image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from convsmith.runtime.execution.room import aligned

if TYPE_CHECKING:
    # It comes with Halide, and a stored program runs without.
    from convsmith.runtime.lowering.block import Array

__all__ = ["Memory", "Runnable", "Sized"]

Memory = tuple[int, "Array"]
"""Its address, and what keeps it."""


class Runnable(Protocol):
    """What the executor runs, and the memory that it needs.

    Attributes:
        calls: (threads, calls), structured as `CALL`.
        arguments: structured as `ARGUMENT`.
    """

    @property
    def calls(self) -> Array:
        """The calls."""

    @property
    def arguments(self) -> Array:
        """Their arguments."""

    @property
    def where(self) -> tuple[int, int, int, int]:
        """The address of the calls, how many a list has, how many lists, that of the arguments."""

    @property
    def memory(self) -> int:
        """Bytes for all maps."""


@dataclass(eq=False)
class Sized:
    """What a region keeps for one size of image.

    Attributes:
        program: its calls.
        results: channels, rows and pixels of each output.
        free: memories that no call uses now.
    """

    program: Runnable
    results: list[tuple[int, int, int]]
    free: list[Memory] = field(default_factory=list)

    def take(self) -> Memory:
        """Memory for one call."""
        try:
            return self.free.pop()
        except IndexError:
            memory = aligned(self.program.memory)
            return memory.ctypes.data, memory
