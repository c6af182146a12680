"""What becomes of a sum before a kernel writes it: activation, residual, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import halide as hl

from convsmith.kernels.activation import activate, is_learnt, limits
from convsmith.kernels.kernel import Numbers, Rows, rounded
from convsmith.kernels.rounding import ALL, Limits, Rounding, in_halves

__all__ = ["BARE", "Epilogue", "ended"]


@dataclass(frozen=True)
class Epilogue:
    """What happens to a sum before it is written: activation, residual, activation.

    At most one of the activations takes a number for each channel, its slope.
    """

    activation: str = "identity"
    residual: bool = False
    final: str = "identity"

    @property
    def learnt(self) -> bool:
        """Whether one of the activations takes a number for each channel."""
        return is_learnt(self.activation) or is_learnt(self.final)

    def arguments(self, slope: Any, other: Rows) -> list[Any]:
        """What a kernel takes for it: the numbers of channels and the residual, if any."""
        return [*[slope][: self.learnt], *(other.arguments if self.residual else [])]

    def apply(self, value: Any, residual: Any, slope: Any) -> Any:
        """The value to write, from the sum, and the residual and the slope at its place.

        A bias is added to the sum: one that began with it would be rounded at its size each time.
        """
        value = activate(self.activation, value, slope)
        if not self.residual:
            return value
        # In this order: the compiler would add bias and residual first where a tile is moved
        # inwards, and the end of a row would round otherwise than its middle.
        return activate(self.final, hl.strict_float(hl.strict_float(value) + residual), slope)

    @property
    def parted(self) -> tuple[Epilogue, Limits]:
        """What is done in float32, and between which limits values of bf16 are kept after it."""
        ends = limits(self.final if self.residual else self.activation)
        if ends is None or not in_halves(ends):
            return self, ALL
        before = self.activation if self.residual else "identity"
        return replace(self, activation=before, final="identity"), ends


BARE = Epilogue()


class Summing(Protocol):
    """A kernel that ends in a tile of sums."""

    @property
    def numbers(self) -> Numbers: ...

    @property
    def channels(self) -> int: ...

    @property
    def epilogue(self) -> Epilogue: ...


def ended(
    kernel: Summing, values: Sequence[Any], place: tuple[Any, ...], lanes: int
) -> tuple[Any, Rounding | None]:
    """What a kernel writes at a place, and what rounds it if that is bf16 and worth its while.

    Args:
        kernel: any that ends in a tile of sums.
        values: the sum, the residual and the slope.
        place: the variables that they are functions of, that of the channels first.
        lanes: of a vector.
    """
    epilogue = kernel.epilogue
    if not kernel.numbers.target:
        return epilogue.apply(*values), None
    if kernel.channels <= lanes:  # halves of words would fill half a vector
        return rounded(epilogue.apply(*values)), None
    epilogue, ends = epilogue.parted
    rounding = Rounding([epilogue.apply(*values)], place, ends)
    return rounding[place], rounding
