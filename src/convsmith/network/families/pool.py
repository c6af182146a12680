"""Pools, and adaptive pools, whose windows follow from the size of the result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

from convsmith.arithmetic import Box, Pool, Positions
from convsmith.errors import ArgumentError
from convsmith.network.cost import Cost
from convsmith.network.families.family import Family, Reads, Trait
from convsmith.network.families.rules import (
    axes_in_place,
    same_channels,
    strided,
)
from convsmith.network.shapes import Axes, per_axis

if TYPE_CHECKING:
    from convsmith.network.network import Layer

__all__ = ["FAMILIES"]


def _dims(name: str, arguments: Mapping[str, Any]) -> int:
    """How many axes a pool slides along: its name says so, else all but batch and channels."""
    digit = re.search(r"pool([123])d", name)
    return int(digit[1]) if digit else len(arguments["self"].shape) - 2


def _arithmetic(name: str, arguments: Mapping[str, Any]) -> Pool:
    dims = _dims(name, arguments)
    kernel = per_axis(arguments["kernel_size"], dims)
    if arguments.get("divisor_override") is not None:
        raise ArgumentError("an average with a divisor of its own is no plain average")
    return Pool(
        kernel,
        per_axis(arguments.get("stride") or kernel, dims),
        per_axis(arguments.get("padding", 0), dims),
        per_axis(arguments.get("dilation", 1), dims),
        ceil_mode=arguments.get("ceil_mode", False),
        kind="max" if name.startswith("max") else "average",
        count_include_pad=arguments.get("count_include_pad", True),
        dims=dims,
    )


def _cost(layer: Layer) -> Cost:
    spec = layer.operation.arithmetic
    assert isinstance(spec, Pool)
    shape = layer.operands[0].shape
    maps = prod(shape[: -spec.dims])
    return Cost(0, spec.flops(shape[-spec.dims :], channels=maps))


def _reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    spec = layer.operation.arithmetic
    assert isinstance(spec, Pool)
    at = len(box) - spec.dims
    yield 0, (*box[:at], *(spec.reads(axis, box[at + axis]) for axis in range(spec.dims)))


def _as_plain_pool(name: str, arguments: Mapping[str, Any]) -> Pool | None:
    """The plain pool that an adaptive one is where its output divides its input, else None."""
    dims = _dims(name, arguments)
    lengths = arguments["self"].shape[-dims:]
    outputs = per_axis(arguments["output_size"], dims)
    if outputs == (1,) * dims or any(n % w for n, w in zip(lengths, outputs, strict=True)):
        return None
    if prod(lengths) == 0:
        return None
    kernel = tuple(n // w for n, w in zip(lengths, outputs, strict=True))
    return Pool(kernel, kind="max" if "max" in name else "average", dims=dims)


def _adaptive_cost(layer: Layer) -> Cost:
    """Window i of n positions onto w covers ⌊i·n/w⌋ … ⌈(i+1)·n/w⌉ - 1: windows may overlap."""
    dims = int(layer.operation.name[-2])
    inputs, outputs = layer.operands[0].shape, layer.shape
    covered = prod(
        sum(-(-(i + 1) * n // w) - i * n // w for i in range(w))
        for n, w in zip(inputs[-dims:], outputs[-dims:], strict=True)
    )
    maps = prod(outputs[:-dims])
    average = "avg" in layer.operation.name
    # k additions and a division, less the first addition; or k - 1 comparisons.
    return Cost(0, maps * covered - (0 if average else prod(outputs)))


def _adaptive_reads(layer: Layer, box: Box, result: int, bounded: bool) -> Reads:
    dims = int(layer.operation.name[-2])
    at = len(box) - dims
    axes = []
    for positions, n, w in zip(
        box[at:], layer.operands[0].shape[at:], layer.shape[at:], strict=True
    ):
        read = Positions()
        for i in positions:
            read |= Positions.range(i * n // w, -(-(i + 1) * n // w))
        axes.append(read)
    yield 0, (*box[:at], *axes)


def _adaptive_axes(layer: Layer, sources: Sequence[Axes]) -> Axes:
    """An axis ends where the pool leaves a single position of it."""
    axes = axes_in_place(layer, sources)
    return tuple(axis if n > 1 else None for axis, n in zip(axes, layer.shape, strict=True))


def _adaptive_step(layer: Layer, place: int) -> Fraction:
    return Fraction(layer.operands[0].shape[place], max(1, layer.shape[place]))


FAMILIES = (
    Family(
        kind="pool",
        about="the largest or the mean value of a window",
        names="""avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
            max_pool1d_with_indices
            max_pool2d_with_indices max_pool3d_with_indices""",
        traits=Trait.WINDOWED | Trait.STARTS_MAP | Trait.TELLS,
        cost=_cost,
        reads=_reads,
        axes=axes_in_place,
        carry=same_channels,
        step=strided,
        arithmetic=_arithmetic,
    ),
    Family(
        kind="adaptive pool",
        about="a pool whose windows follow from the output size, unequal or over the whole map",
        names="""adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
            adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_maxima_pool2d""",
        traits=Trait.WINDOWED | Trait.ENDS_AXIS | Trait.TELLS | Trait.BY_NAME,
        cost=_adaptive_cost,
        reads=_adaptive_reads,
        axes=_adaptive_axes,
        carry=same_channels,
        step=_adaptive_step,
        arithmetic=_as_plain_pool,
    ),
)
