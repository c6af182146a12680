"""Blocks that end in what follows on each value: an activation, a sum with a map, another one."""

from __future__ import annotations

from dataclasses import dataclass

from convsmith.kernels.activation import is_learnt
from convsmith.kernels.epilogue import Epilogue
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.maps import Map

__all__ = ["Ended"]


@dataclass(eq=False)
class Ended(Block):
    """A block whose kernel has an epilogue.

    Attributes:
        activation: of its values.
        residual: the map that is added then.
        final: the activation after that.
        slope: for each channel the number that one of the two takes; None where neither does.
    """

    activation: str = "identity"
    residual: Map | None = None
    final: str = "identity"
    slope: Array | None = None

    narrows = True

    @property
    def epilogue(self) -> Epilogue:
        """What its kernel does last."""
        return Epilogue(self.activation, self.residual is not None, self.final)

    def end_in(self, activation: str, slope: Array | None) -> bool:
        """Whether it has taken over an activation of its values, as they are now.

        Args:
            activation: its name in kernels.
            slope: the numbers of its channels, for one that has such.
        """
        if self.final != "identity" or (is_learnt(activation) and self.slope is not None):
            return False
        if self.residual is not None:
            self.final = activation
        elif self.activation == "identity":
            self.activation = activation
        else:
            return False
        self.slope = slope if is_learnt(activation) else self.slope
        return True

    def add(self, other: Map) -> None:
        """Add a map to its values."""
        self.residual = other
        self.sources.append(other)
