"""Maps of which each channel is multiplied by a number of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.pointwise import Epilogue
from convsmith.kernels.rows import Scale
from convsmith.runtime.lowering.block import Block
from convsmith.runtime.lowering.maps import Map

__all__ = ["Scaled"]


@dataclass(eq=False)
class Scaled(Block):
    """Each channel times a number of the image, as squeeze-and-excite does."""

    residual: Map | None = None
    activation: str = "identity"
    final: str = "identity"

    narrows = True

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The gates are one pixel each."""
        return (0, 1) if 0 < which <= len(self.gates) else (start, stop)

    @property
    def gates(self) -> Sequence[Map]:
        """What each channel is multiplied by."""
        return self.sources[1:2]

    def kernel(self, isa: Isa, width: int) -> Kernel:
        """The kernel, of any width."""
        epilogue = Epilogue(self.activation, self.residual is not None, self.final)
        return Scale(epilogue, centred=len(self.gates) > 1)
