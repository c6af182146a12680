"""Maps of which each channel is multiplied by a number of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.rows import Scale
from convsmith.runtime.lowering.block import Array
from convsmith.runtime.lowering.convolution import padded
from convsmith.runtime.lowering.ended import Ended
from convsmith.runtime.lowering.maps import Map

__all__ = ["Scaled"]


@dataclass(eq=False)
class Scaled(Ended):
    """Each channel times a number of the image, as squeeze-and-excite does."""

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The gates are one pixel each."""
        return (0, 1) if 0 < which <= len(self.gates) else (start, stop)

    @property
    def gates(self) -> Sequence[Map]:
        """What each channel is multiplied by."""
        return self.sources[1:2]

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        return Scale(self.epilogue, centred=len(self.gates) > 1)

    def constants(self, isa: Isa) -> list[Array]:
        """The slopes, if any."""
        assert self.target is not None
        return [padded(s, self.target.pitch) for s in (self.slope,) if s is not None]

    def settings(self, row: int, size: tuple[int, int]) -> Sequence[int | float | None]:
        """The slopes, if any."""
        return [None] if self.slope is not None else []
