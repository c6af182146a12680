"""What becomes of a network whose strides go: changes, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from convsmith.network import Network
from convsmith.rewrite.dilation.grid import Grids
from convsmith.rewrite.dilation.window import DilatedWindow

__all__ = ["Change", "Plan", "Refusal", "Striding"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A layer that breaks the theorem, and why.

    Attributes:
        layer: its name in the network.
        path: what the user knows it by: its module's path, or its name.
        reason: in a few words.
    """

    layer: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one layer.

    Attributes:
        layer: its name in the network.
        windows: those of a convolution or pool, one per axis; else empty.
        pads: for a padding, the new numbers, as PyTorch orders them; else empty.
        cut: for a slice, dimension, start, end and step; else empty.
        trim: for each of the last dimensions, the rate of the grid to which the result is cut.
    """

    layer: str
    windows: tuple[DilatedWindow, ...] = ()
    pads: tuple[int, ...] = ()
    cut: tuple[int, ...] = ()
    trim: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What becomes of a network.

    Attributes:
        changes: by layer, in order of execution.
        refusals: layers that break the theorem for what follows them.
        grids: for each layer the grids of its results; None if they are not known.
        coarse: layers that step and whose map stays coarser than was asked for, and its stride.
    """

    changes: Mapping[str, Change]
    refusals: tuple[Refusal, ...]
    grids: Mapping[str, tuple[Grids, ...] | None]
    coarse: Mapping[str, Fraction] = field(default_factory=lambda: MappingProxyType({}))

    def rates(self, layer: str) -> tuple[int, ...] | None:
        """The rate of each dimension of a layer's first result; None if it is not known."""
        grids = self.grids[layer]
        return tuple(grid.rate for grid in grids[0]) if grids else None

    def upstream(self, network: Network, layer: str) -> tuple[Refusal, ...]:
        """The refusals on the way to a layer."""
        way = {layer, *(up.name for up in network.upstream(layer))}
        return tuple(refusal for refusal in self.refusals if refusal.layer in way)


class Striding(NamedTuple):
    """Which strides go: down to a total stride for each axis, or those of layers by name.

    Attributes:
        total: the largest cumulative stride that is left, one number or one per axis; None for
            layers by name.
        layers: names of layers in the network.
    """

    total: tuple[int, ...] | None = None
    layers: frozenset[str] = frozenset()

    def most(self, axis: int) -> int:
        """The largest total stride along an axis, counted from the end."""
        assert self.total is not None
        several = len(self.total) > 1 and -axis <= len(self.total)
        return self.total[axis] if several else self.total[0]
