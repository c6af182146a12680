"""What a compiled network computes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convsmith.errors import ArgumentError

__all__ = ["FLOAT32", "PRECISIONS", "Precision", "precision_of"]

PRECISIONS = ("float32", "bf16")
"""What `compile` can be asked for."""


@dataclass(frozen=True)
class Precision:
    """What regions compute with.

    Attributes:
        name: one of `PRECISIONS`.
        keep: layers that stay float32 whatever the name.
    """

    name: str = "float32"
    keep: frozenset[str] = frozenset()

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
    Precision(name='bf16', keep=frozenset({'stem'}))
    """
    if name not in PRECISIONS:
        raise ArgumentError(f"precision is {' or '.join(map(repr, PRECISIONS))}, not {name!r}")
    if isinstance(keep, str) or not all(isinstance(layer, str) for layer in keep):
        raise ArgumentError(f"keep is a list of names of layers, not {keep!r}")
    if keep and name == "float32":
        raise ArgumentError(f"keep={list(keep)!r} needs precision='bf16': all is float32 anyway")
    return Precision(name, frozenset(keep))
