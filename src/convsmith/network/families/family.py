"""`Family`: everything that is known of one kind of operation.

A family answers every question that a room asks of an operation: what it costs, what it reads,
which axes of the image its result keeps, how channels pass through it, how far its input moves
with its output, and its traits. No field but the last five has a default, so a family that does
not answer a question cannot be written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Conv, ConvTranspose, Pool, Positions
from convsmith.network.channels import Passage
from convsmith.network.cost import Cost
from convsmith.network.shapes import Axes

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = [
    "NO_TRAIT",
    "Arithmetic",
    "ArithmeticRule",
    "AxesRule",
    "BoundsRule",
    "CarryRule",
    "CostRule",
    "Family",
    "Reads",
    "ReadsRule",
    "StepRule",
    "Trait",
]  # fmt: skip

Arithmetic = Conv | ConvTranspose | Pool

Reads = Iterator[tuple[int, Box]]
"""Operands by number, each with a product of its positions; one operand may come several times."""

CostRule = Callable[["Layer"], Cost]
"""What a layer costs. A `LookupError`, `TypeError`, `ValueError` or `ArithmeticError` means that
it cannot be counted."""

ReadsRule = Callable[["Layer", Box, int, bool], Reads]
"""What a layer reads of its operands to compute some positions of a result: (layer, positions, one
set per dimension; which result; whether the map has borders). Products span all dimensions of a
tensor, channels too, so that groups, splits and shuffles stay exact. Positions may lie outside the
tensor, in its padding: the caller clips them, or, on a map without borders, does not."""

AxesRule = Callable[["Layer", Sequence[Axes]], Axes]
"""Which axes of the image the dimensions of a result run along, from those of the inputs."""

CarryRule = Callable[[Passage], Positions | None]
"""The channels of a result that read at least one of some channels of an operand; None where that
is not known."""

StepRule = Callable[["Layer", int], Fraction]
"""By how much the operand's position moves with the result's, along one dimension."""

BoundsRule = Callable[["Layer"], bool]
"""Whether what a layer is said to read is an upper bound: never less than it reads, perhaps more.
"""

ArithmeticRule = Callable[[str, Mapping[str, Any]], Arithmetic | None]
"""The windows and channels of an operation from its name and its arguments by the names they have
in PyTorch's schema, tensors as `TensorType`. An `ArgumentError` means that PyTorch accepts what
the arithmetic does not."""


class Trait(Flag):
    """What rooms ask of an operation besides its rules."""

    POINTWISE = auto()
    """It reads, of each operand, the position of the map that it computes."""
    WINDOWED = auto()
    """It slides a window or changes the resolution: it never reads a whole axis at once."""
    ANY_AXIS = auto()
    """Its windows may lie along any axes, not only along the last ones."""
    ONE_AXIS = auto()
    """It slides along the axis `dim` alone, and is pointwise along the others."""
    JOINS_AXIS = auto()
    """It may read the whole of an axis that its result still has."""
    ENDS_AXIS = auto()
    """Where an axis of the image ends in it, a value is that of one place along it, or of all."""
    STATISTICS = auto()
    """It reads other positions for its statistics alone: without them it is pointwise."""
    MIXES_CHANNELS = auto()
    """Each channel of its result reads all channels along a dimension."""
    MERGES = auto()
    """Branches meet in it: it adds or joins maps that lie upon each other."""
    IN_SERIES = auto()
    """Convolutions before and after it follow one another: it leaves the map's grid as it is."""
    STARTS_MAP = auto()
    """It decides where its map ends, and can end it elsewhere."""
    TELLS = auto()
    """Its receptive field is worth a row: it is not that of its input."""
    VIEW = auto()
    """Its result is another name for the same bytes, or takes none: nothing is moved."""
    SAME_SHAPE = auto()
    """Its result has the shape and type of its first operand."""
    BROADCASTS = auto()
    """Its operands are repeated along axes of length 1."""
    FUSED = auto()
    """It does several matrix products in one call, which counters of calls do not look into."""
    VECTOR = auto()
    """It is a product with a vector."""
    COMPLEX = auto()
    """Its cost is that of complex numbers already."""
    BY_NAME = auto()
    """Its operations differ by name, so that its kind alone does not say what one of them does."""


NO_TRAIT = Trait(0)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of operation.

    Attributes:
        kind: its name, as `Layer.kind` gives it and as reports print it.
        about: what it does, in a few words.
        names: its operations in `torch.ops.aten`, without overload and without the trailing
            underscore of the in-place form, separated by spaces. An overload that does something
            else than its name is one of its own: `max.other`.
        traits: see `Trait`.
        cost: the rule that counts it; None where no rule can.
        reads: the rule for what it reads; None where everything has to be assumed.
        axes: the rule for which axes of the image its result keeps.
        carry: the rule for how channels pass through it.
        step: the rule for how far its operand moves with its result.
        arithmetic: how to read its windows and channels; None where it has none.
        title: what its multiply-adds are called in a sum; '' where it has none.
        bounds: the rule for whether `reads` is an upper bound; without `reads` it always is.
        exceptions: operations of the family that differ from it, by name.
    """

    kind: str
    about: str
    names: str
    traits: Trait
    cost: CostRule | None
    reads: ReadsRule | None
    axes: AxesRule
    carry: CarryRule
    step: StepRule
    arithmetic: ArithmeticRule | None = None
    title: str = ""
    bounds: BoundsRule = field(default=lambda layer: False)
    exceptions: Mapping[str, Family] = field(default_factory=lambda: MappingProxyType({}))

    def has(self, trait: Trait) -> bool:
        """Whether it has a trait (any one of several)."""
        # Asked several times per layer: `Flag.__and__` would make an object each time.
        return bool(self.traits._value_ & trait._value_)

    def guesses(self, layer: Layer) -> bool:
        """Whether what one of its layers is said to read may be more than it reads."""
        bound = self.reads is None or getattr(self.reads, "bound", False)
        return bool(bound) or self.bounds(layer)

    def of(self, name: str) -> Family:
        """The family as one of its operations has it."""
        return self.exceptions.get(name, self)

    def but(
        self, names: str, *, adds: Trait = NO_TRAIT, lacks: Trait = NO_TRAIT, **rules: Any
    ) -> Family:
        """The same family, in which some operations differ.

        Args:
            names: of these operations, separated by spaces.
            adds: traits that they have besides those of the family.
            lacks: traits of the family that they do not have.
            **rules: what they answer otherwise, by the names of the attributes.
        """
        changed = dict(self.exceptions)
        for name in names.split():
            one = changed.get(name, self)
            traits = (one.traits | adds) & ~lacks
            changed[name] = replace(one, traits=traits, exceptions=MappingProxyType({}), **rules)
        return replace(self, exceptions=MappingProxyType(changed))
