"""What a compiled network computes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    # Halide has no wheel for every machine: this is imported where there are kernels.
    from convsmith.kernels.isa import Isa

__all__ = [
    "FLOAT32", "PRECISIONS", "Precision", "check_here", "here", "instruction_set", "lacks_bf16",
    "precision_of",
]  # fmt: skip

PRECISIONS = ("float32", "bf16")
"""What `compile` can be asked for."""


@dataclass(frozen=True)
class Precision:
    """What regions compute with.

    Attributes:
        name: one of `PRECISIONS`.
        keep: layers that stay float32 whatever the name.
        winograd: whether dense sums in float32 may take fewer products (`kernels.winograd`).
    """

    name: str = "float32"
    keep: frozenset[str] = frozenset()
    winograd: bool = False

    def check(self, layers: Iterable[str]) -> None:
        """Raise an `ArgumentError` where a layer to keep is none of these."""
        if unknown := sorted(self.keep.difference(layers)):
            raise ArgumentError(f"keep names {unknown[0]!r}, which is no layer of the network")


FLOAT32 = Precision()


def precision_of(name: str, keep: Sequence[str]) -> Precision:
    """A precision from the arguments of a call.

    Raises:
        ArgumentError: for an unknown name, or for layers to keep where all are float32.

    >>> precision_of("bf16", ["stem"])
    Precision(name='bf16', keep=frozenset({'stem'}), winograd=False)
    """
    if name not in PRECISIONS:
        raise ArgumentError(f"precision is {' or '.join(map(repr, PRECISIONS))}, not {name!r}")
    if isinstance(keep, str) or not all(isinstance(layer, str) for layer in keep):
        raise ArgumentError(f"keep is a list of names of layers, not {keep!r}")
    if keep and name == "float32":
        raise ArgumentError(f"keep={list(keep)!r} needs precision='bf16': all is float32 anyway")
    return Precision(name, frozenset(keep))


def check_here(name: str) -> None:
    """Raise an `ArgumentError` for a precision that this machine does not have."""
    if name != FLOAT32.name and (why := lacks_bf16()):
        raise ArgumentError(f"no {name} here: {why}")


def here(name: str, allow_fallback: bool, isa: str | None = None) -> str:
    """What this machine computes with where a precision was asked for: that, or float32.

    Args:
        name: one of `PRECISIONS`.
        allow_fallback: whether float32 will do where it lacks that precision.
        isa: the instruction set that kernels are for; the widest unless given.

    Raises:
        ArgumentError: where it will not.
    """
    if name == FLOAT32.name or not (why := lacks_bf16(isa)):
        return name
    if not allow_fallback:
        raise ArgumentError(f"no {name} here: {why}; allow_fallback=True takes float32")
    return FLOAT32.name


def instruction_set(isa: str | None = None) -> str:
    """The one that kernels are built for on this machine; '' where it has none.

    Args:
        isa: the one that is wanted; the widest unless given.

    Raises:
        ArgumentError: for one that this machine does not have.
    """
    chosen = _chosen(isa)
    return "" if chosen is None else chosen.name


def _chosen(isa: str | None) -> Isa | None:
    try:
        from convsmith.kernels.isa import choose_isa
    except ImportError:
        return None
    return choose_isa(isa)


def lacks_bf16(isa: str | None = None) -> str:
    """Why nothing is computed in bf16 on this machine; '' if it can be.

    Args:
        isa: the instruction set that kernels are for; the widest unless given.

    Raises:
        ArgumentError: for one that this machine does not have.
    """
    try:
        from convsmith.kernels.library import compiler
    except ImportError:
        return "there are no kernels on this machine"
    chosen = _chosen(isa)
    if chosen is None:
        return "there are no kernels for this machine"
    if not chosen.bf16:
        return f"{chosen.name} has no products of bf16"
    if not chosen.has_bf16:
        return "this processor lacks avx512_bf16, as Zen 4 and Sapphire Rapids have it"
    return "" if compiler() is not None else "it needs a C compiler, gcc or clang"
