"""Statistics of the whole image, gathered tile by tile: exact, in a fixed order, in float64.

A layer that joins the map (global pooling, instance and group norm) is given what it needs by a
sweep over the image that comes before. Layers in sequence need a sweep each, for the second sees
what the first one has normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor

from convsmith.network import Layer
from convsmith.tiling.crops.statistics import norm_groups, reduced_dims
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.patch import Patch
from convsmith.tiling.spans import Spans, lengths, slices
from convsmith.tiling.survey import Survey

__all__ = ["Bins", "Extremes", "Moments", "pieces", "sweep"]

ReadImage = Callable[[Spans], Patch]


class Gatherer(Protocol):
    """Gathers what one layer needs from disjoint parts of its operand."""

    def add(self, part: Patch) -> None:
        """Take in a part; parts come in a fixed order."""

    def finish(self, known: Statistics) -> Statistics:
        """The statistics known before, and this layer's."""


@dataclass(eq=False)
class Moments:
    """Count, mean and sum of squared differences over some dimensions, merged as Chan et al. 1979.

    The values of the others are kept apart, each with a count of its own, so that parts may cut
    dimensions that are kept.
    """

    layer: Layer
    dims: tuple[int, ...]
    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, layer: Layer, shape: Sequence[int], dims: tuple[int, ...]) -> Moments:
        """Nothing gathered yet, for an operand of a shape."""
        kept = [1 if d in dims else length for d, length in enumerate(shape)]
        zeros = torch.zeros(kept, dtype=torch.float64)
        return cls(layer, dims, zeros, zeros.clone(), zeros.clone())

    def add(self, part: Patch) -> None:
        """Merge a part's mean and squares with what is there."""
        values = part.tensor.detach().cpu().double()
        mean = values.mean(self.dims, keepdim=True)
        squares = (values - mean).square_().sum(self.dims, keepdim=True)
        number = float(values.numel() // mean.numel())
        kept = tuple((0, 1) if d in self.dims else span for d, span in enumerate(part.spans))
        at = slices(kept)
        before = self.count[at]
        total = before + number
        delta = mean - self.mean[at]
        self.mean[at] += delta * (number / total)
        self.squares[at] += squares + delta.square() * (before * number / total)
        self.count[at] = total

    def finish(self, known: Statistics) -> Statistics:
        """The moments of a norm, or the result of a reduction."""
        if self.layer.kind == "norm":
            variance = self.squares / self.count
            shape = self.mean.shape[:2]
            pair = (self.mean.reshape(shape), variance.reshape(shape))
            return replace(known, moments={**known.moments, self.layer.name: pair})
        name, settings = self.layer.operation.name, self.layer.operation.settings
        value = self.mean
        if name == "sum":
            value = self.mean * self.count
        elif name in ("var", "std"):
            correction = settings.get("correction", settings.get("unbiased", True))
            value = self.squares / (self.count - float(1 if correction is None else correction))
            value = value.sqrt() if name == "std" else value
        return _with_value(known, self.layer, value)


@dataclass(eq=False)
class Extremes:
    """The largest or smallest values over some dimensions."""

    layer: Layer
    dims: tuple[int, ...]
    values: Tensor

    @classmethod
    def of(cls, layer: Layer, shape: Sequence[int], dims: tuple[int, ...]) -> Extremes:
        """Nothing gathered yet, for an operand of a shape."""
        kept = [1 if d in dims else length for d, length in enumerate(shape)]
        least = -float("inf") if layer.operation.name == "amax" else float("inf")
        return cls(layer, dims, torch.full(kept, least, dtype=torch.float64))

    def add(self, part: Patch) -> None:
        """Keep the larger (or smaller) of a part's and what is there."""
        values = part.tensor.detach().cpu().double()
        largest = self.layer.operation.name == "amax"
        extremes = (values.amax if largest else values.amin)(self.dims, keepdim=True)
        at = slices(tuple((0, 1) if d in self.dims else span for d, span in enumerate(part.spans)))
        merge = torch.maximum if largest else torch.minimum
        self.values[at] = merge(self.values[at], extremes)

    def finish(self, known: Statistics) -> Statistics:
        """The result of the reduction."""
        return _with_value(known, self.layer, self.values)


@dataclass(eq=False)
class Bins:
    """Sums or maxima over the windows of an adaptive pool."""

    layer: Layer
    values: Tensor

    @classmethod
    def of(cls, layer: Layer) -> Bins:
        """Nothing gathered yet."""
        start = -float("inf") if "max" in layer.operation.name else 0.0
        return cls(layer, torch.full(layer.shape, start, dtype=torch.float64))

    def add(self, part: Patch) -> None:
        """Take in those windows that a part overlaps."""
        values = part.tensor.detach().cpu().double()
        largest = "max" in self.layer.operation.name
        dims = int(self.layer.operation.name[-2])
        at = values.dim() - dims
        overlaps = [self._overlaps(at + axis, part) for axis in range(dims)]
        for choice in product(*overlaps):
            index: Any = (..., *(number for number, _, _ in choice))
            part_of: Any = (..., *(slice(low, high) for _, low, high in choice))
            inside = values[part_of]
            axes = tuple(range(at, values.dim()))
            if largest:
                best = torch.maximum(self.values[index], inside.amax(axes))
                self.values[index] = best
            else:
                self.values[index] += inside.sum(axes)

    def _window(self, dim: int, number: int) -> tuple[int, int]:
        length, count = self.layer.operands[0].shape[dim], self.layer.shape[dim]
        return number * length // count, -(-(number + 1) * length // count)

    def _overlaps(self, dim: int, part: Patch) -> list[tuple[int, int, int]]:
        start, stop = part.spans[dim]
        overlaps = []
        for number in range(self.layer.shape[dim]):
            low, high = self._window(dim, number)
            low, high = max(low, start), min(high, stop)
            if low < high:
                overlaps.append((number, low - start, high - start))
        return overlaps

    def finish(self, known: Statistics) -> Statistics:
        """The result of the pool."""
        values = self.values
        if "max" not in self.layer.operation.name:
            dims = int(self.layer.operation.name[-2])
            for dim in range(values.dim() - dims, values.dim()):
                counts = [
                    float(high - low)
                    for low, high in (self._window(dim, n) for n in range(self.layer.shape[dim]))
                ]
                shape = [-1 if d == dim else 1 for d in range(values.dim())]
                values = values / torch.tensor(counts, dtype=torch.float64).reshape(shape)
        return _with_value(known, self.layer, values)


def _with_value(known: Statistics, layer: Layer, value: Tensor) -> Statistics:
    kind = getattr(torch, layer.results[0].dtype)
    result = value.to(kind).reshape(layer.shape)
    return replace(known, values={**known.values, layer.name: result})


def _gatherer(layer: Layer) -> Gatherer:
    shape = layer.operands[0].shape
    if layer.kind in ("pool", "adaptive pool"):
        return Bins.of(layer)
    if layer.kind == "norm":
        groups = norm_groups(layer)
        grouped = (shape[0], groups, shape[1] // groups, *shape[2:])
        return Moments.of(layer, grouped, tuple(range(2, len(grouped))))
    dims = reduced_dims(layer)
    if layer.operation.name in ("amax", "amin"):
        return Extremes.of(layer, shape, dims)
    return Moments.of(layer, shape, dims)


def _grouped(layer: Layer, part: Patch) -> Patch:
    """The operand of a norm with its channels in groups; others as they are."""
    if layer.kind != "norm":
        return part
    groups = norm_groups(layer)
    batch, channels, *rest = part.tensor.shape
    width = channels // groups
    tensor = part.tensor.reshape(batch, groups, width, *rest)
    spans = (part.spans[0], (0, groups), (0, width), *part.spans[2:])
    return Patch(tensor, spans, (*part.shape[:1], groups, width, *part.shape[2:]))


def pieces(survey: Survey, name: str, counts: Sequence[int], index: Sequence[int]) -> Spans:
    """One of `counts` disjoint pieces per axis that together are a layer's whole result."""
    layer = survey.network[name]
    return tuple(
        (0, length)
        if axis is None
        else (length * index[axis] // counts[axis], length * (index[axis] + 1) // counts[axis])
        for length, axis in zip(layer.shape, survey.axes[name], strict=True)
    )


def sweep(
    interpreter: Interpreter,
    level: Iterable[str],
    read: ReadImage,
    counts: Sequence[int],
    known: Statistics,
    progress: Callable[[], None] = lambda: None,
) -> Statistics:
    """Gather what the layers of one level need, in one pass over the image.

    Args:
        interpreter: of the network.
        level: the layers.
        read: gives a part of the image.
        counts: how many pieces each axis of the image is cut into.
        known: statistics of the levels before.
        progress: called after each piece.
    """
    survey = interpreter.survey
    layers = [survey.network[name] for name in level]
    sources = {layer.name: layer.inputs[0] for layer in layers}
    gatherers = {layer.name: _gatherer(layer) for layer in layers}
    for index in product(*map(range, counts)):
        targets = {
            source: spans
            for source in dict.fromkeys(sources.values())
            if 0 not in lengths(spans := pieces(survey, source, counts, index))
            and _is_first(survey, source, index)
        }
        if targets:
            parts = _parts(interpreter, targets, read, known)
            for layer in layers:
                if sources[layer.name] in parts:
                    gatherers[layer.name].add(_grouped(layer, parts[sources[layer.name]]))
        progress()
    for layer in layers:
        known = gatherers[layer.name].finish(known)
    return known


def _is_first(survey: Survey, source: str, index: Sequence[int]) -> bool:
    """Whether a piece is not one more look at a map that has lost an axis."""
    axes = set(survey.axes[source])
    return all(number == 0 for axis, number in enumerate(index) if axis not in axes)


def _parts(
    interpreter: Interpreter, targets: Mapping[str, Spans], read: ReadImage, known: Statistics
) -> dict[str, Patch]:
    survey = interpreter.survey
    needs = interpreter.ranges(targets, known)
    image = read(needs.spans[survey.image.name, 0])
    tensors = interpreter.run(image, targets, known)
    return {
        name: Patch(tensor, targets[name], survey.network[name].shape)
        for name, tensor in tensors.items()
    }
