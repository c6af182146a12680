"""Which input sizes a network takes: the smallest, those that break it, what flooring drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from convsmith.errors import ArgumentError, first_line
from convsmith.network import Network, quiet, trace
from convsmith.network.backward import spatial_axes, strides
from convsmith.network.contexts import forked
from convsmith.network.leftovers import without_leftovers
from convsmith.network.shadow import shadow
from convsmith.report import Column, Result, Table, shape

__all__ = ["Sizes", "sizes"]

# How many lengths are tried along an axis before a network counts as having no smallest one.
_LARGEST = 512


@dataclass(frozen=True)
class Sizes(Result):
    """Which lengths of the image's axes a network accepts, rows first.

    Each axis was varied alone, the others kept at their traced length.

    Attributes:
        traced: the lengths it was traced with.
        smallest: the least length that works; None if none up to 512 does.
        period: lengths were tried over one period of the network's stride, from the traced one on.
        broken: the lengths in that period that do not work.
        reasons: the network's error for the first of them, '' if none is broken.
        dropped: layers at which flooring leaves positions at the far end unread, and how many
            along each axis, at the traced size.
    """

    traced: tuple[int, ...]
    smallest: tuple[int | None, ...]
    period: tuple[int, ...]
    broken: tuple[tuple[int, ...], ...]
    reasons: tuple[str, ...]
    dropped: Mapping[str, tuple[int, ...]]

    @property
    def multiple(self) -> tuple[int | None, ...]:
        """The number that every working length is a multiple of; None if there is no such rule."""
        multiples: list[int | None] = []
        for start, period, broken in zip(self.traced, self.period, self.broken, strict=True):
            tried = range(start, start + period)
            works = [n for n in tried if n not in broken]
            rules = (m for m in range(period, 1, -1) if period % m == 0)
            multiples.append(
                next((m for m in rules if works == [n for n in tried if n % m == 0]), None)
            )
        return tuple(multiples)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return super().to_dict() | {"multiple": list(self.multiple)}

    def table(self) -> Table:
        """One row per axis; below, the layers that drop positions."""
        dropped = ", ".join(f"{name} {shape(counts)}" for name, counts in self.dropped.items())
        return Table(
            columns=(
                Column("axis", "axis", align="right"),
                Column("traced", "traced", align="right"),
                Column("smallest", "smallest", align="right"),
                Column("tried", "tried", align="right"),
                Column("broken", "of them broken", align="right"),
                Column("multiple", "works for multiples of", align="right"),
                Column("reason", "because"),
            ),
            rows=[
                (axis, traced, small, f"{traced} … {traced + period - 1}", len(broken), multiple,
                 reason or None)
                for axis, (traced, small, period, broken, multiple, reason) in enumerate(
                    zip(self.traced, self.smallest, self.period, self.broken, self.multiple,
                        self.reasons, strict=True)
                )
            ],
            title="Input sizes",
            note=f"Dropped at the far end by flooring: {dropped}." if dropped else None,
        )  # fmt: skip


def sizes(model: Any, example: Any = None) -> Sizes:
    """Find which lengths of each spatial axis a model accepts, without computing anything.

    The model runs on tensors without values; it is left as it was.

    Args:
        model: a network with one input, or its `Network` if it has been traced already.
        example: as for `trace`: the batch, the channels and the other axes come from it; not
            needed for a `Network`.

    Raises:
        ArgumentError: if the input has no spatial axes.
        TraceError: if the model cannot be traced at the size of the example.

    >>> model = nn.Sequential(nn.Conv2d(1, 1, 7, 2), nn.MaxPool2d(2))
    >>> sizes(model, (1, 1, 32, 33)).smallest
    (9, 9)
    """
    module = model.model if isinstance(model, Network) else model
    if not isinstance(module, nn.Module):
        raise ArgumentError("sizes need a torch.nn.Module: an exported program has one size only")
    network = model if isinstance(model, Network) else trace(module, example)
    if len(network.inputs) != 1 or len(network[network.inputs[0]].shape) < 3:
        raise ArgumentError(f"{network.name}: sizes are found for one input with spatial axes")
    image = network[network.inputs[0]]
    traced = image.shape[2:]
    kind = getattr(torch, image.results[0].dtype)
    steps = strides(network)
    smallest: list[int | None] = []
    periods: list[int] = []
    broken: list[tuple[int, ...]] = []
    reasons: list[str] = []
    module = shadow(module)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with quiet(), forked(), without_leftovers(module), fake, torch.no_grad():

        def fault(axis: int, length: int) -> str:
            lengths = (*image.shape[: 2 + axis], length, *image.shape[3 + axis :])
            try:
                module(torch.empty(lengths, dtype=kind))
            except Exception as error:  # models refuse a size in many ways
                return first_line(error)
            return ""

        for axis, length in enumerate(traced):
            period = max((ceil(of[axis]) for of in steps.values() if axis in of), default=1)
            lengths = range(length, length + period)
            faults = {n: reason for n in lengths if (reason := fault(axis, n))}
            small = next((n for n in range(1, _LARGEST + 1) if not fault(axis, n)), None)
            smallest.append(small)
            periods.append(period)
            broken.append(tuple(faults))
            reasons.append(next(iter(faults.values()), ""))
    return Sizes(
        traced, tuple(smallest), tuple(periods), tuple(broken), tuple(reasons), _dropped(network)
    )


def _dropped(network: Network) -> dict[str, tuple[int, ...]]:
    """Convolutions and pools that leave positions of their input unread at the far end."""
    axes = spatial_axes(network)
    dropped = {}
    for layer in network:
        spec = layer.operation.arithmetic
        if spec is None or spec.transposed or not any(a is not None for a in axes[layer.name]):
            continue
        lengths = layer.operands[0].shape[-spec.dims :]
        outputs = layer.shape[-spec.dims :]
        unread = tuple(
            max(0, n - (window.input_range(0, count)[1]))
            for window, n, count in zip(spec.windows, lengths, outputs, strict=True)
        )
        if any(unread):
            dropped[layer.name] = unread
    return dropped
