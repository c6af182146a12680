"""What operations are: one file per family, one table for every room.

To teach convsmith an operation of PyTorch's, add its name to the family that it belongs to, and if
it differs there, say how with `Family.but`. A family of its own is a file with `FAMILIES`, named in
the list below.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from convsmith.arithmetic import Pool
from convsmith.network.families import (
    activation,
    complex_numbers,
    convolution,
    elementwise,
    fourier,
    index,
    joining,
    matmul,
    norm,
    pad,
    permute,
    pool,
    recurrent,
    reduction,
    resample,
    reshape,
    shuffle,
    source,
    write,
)
from convsmith.network.families.family import Arithmetic, Family, Trait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convsmith.network.network import Layer

__all__ = ["FAMILIES", "FAMILY_OF", "Family", "Trait", "family_of", "kind_of"]

_FILES = (
    activation, complex_numbers, convolution, elementwise, fourier, index, joining, matmul, norm,
    pad, permute, pool, recurrent, reduction, resample, reshape, shuffle, source, write,
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.kind: family for file in _FILES for family in file.FAMILIES}
)
"""Every family by its kind."""

FAMILY_OF: Mapping[str, str] = MappingProxyType(
    {name: family.kind for family in FAMILIES.values() for name in family.names.split()}
)
"""The kind of each operation of `torch.ops.aten`. What is not listed is `unknown`."""


def kind_of(arithmetic: Arithmetic) -> str:
    """The kind that arithmetic makes an operation: `aten.convolution` may be transposed, say.

    >>> kind_of(Pool(2))
    'pool'
    """
    if isinstance(arithmetic, Pool):
        return "pool"
    return "transposed convolution" if arithmetic.transposed else "convolution"


def family_of(layer: Layer) -> Family:
    """The family of a layer's operation, as that operation has it."""
    operation = layer.operation
    if operation.custom is not None:
        own: Family = operation.custom
        return own
    return FAMILIES[operation.kind].of(operation.name)
