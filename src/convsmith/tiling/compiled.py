"""Tiles through compiled kernels: the same bits as the whole image through the same kernels.

Kernels compute a position from what its windows read, wherever it lies, so a network whose layers
move with the image gives the same bits on a part of it. Each tile runs on the part of the image
that it depends on, begun at a multiple of all strides. What the part's own border spoils, no
position of the tile reads; where the image ends, the part ends too, and its padding is the true
one. Bands of rows stream through rings in the cache, so a tile may be large: only the part and its
output are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm, prod
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from convsmith.errors import ArgumentError
from convsmith.network import Layer
from convsmith.network.backward import strides
from convsmith.runtime import Compiled, compile
from convsmith.tiling.budget import LARGEST, SMALLEST, even, output_size, tile_spans
from convsmith.tiling.compute import Compute
from convsmith.tiling.exact import read_image
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.ranges import ranges
from convsmith.tiling.spans import Span, slices
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey

__all__ = [
    "CompiledTiles",
    "changed",
    "compiled_peak",
    "largest_tile",
    "part_of",
    "part_size",
    "unmoved",
]

_SIZES = 2
"""Sizes of parts whose compiled network is kept: all parts of an image have one."""

_WIDEST = 16
"""Positions of a row that a kernel computes at once, at most: a part is as long at every layer, so
that it can use the kernels of the whole image."""

_FOLLOWING = ("reshape", "upsample")
"""Kinds whose settings name sizes, which follow those of the image by themselves."""

_RINGS = 64 << 20
"""Bytes for rings, weights and kernels, above what the tensors take: 20 to 50 MB by trial on
MobileNetV2 and U-Nets."""


def unmoved(survey: Survey) -> str:
    """Why a network does not move with the image, so that a part of it gives other values; or ''.

    Interpolation by whole factors moves with it; to a size that is no multiple, it does not.
    """
    if len(survey.image.shape) != 4:
        return f"{survey.image.name}: kernels take images with two axes"
    for layer in survey.network:
        is_needed = layer.name in survey.needed and not layer.constant
        if is_needed and (reason := _stays(survey, layer)):
            return f"{layer.name} ({layer.operation}): {reason}"
    return ""


def _stays(survey: Survey, layer: Layer) -> str:
    cut = [axis is not None for axis in survey.axes[layer.name]]
    if not any(cut):
        return ""
    settings = layer.operation.settings
    if layer.kind == "upsample":
        pairs = zip(layer.operands[0].shape[2:], layer.shape[2:], strict=True)
        if settings.get("align_corners") or any(m % n and n % m for n, m in pairs):
            return "its positions depend on the size of the image"
    if layer.operation.name.startswith("adaptive"):
        return "its windows depend on the size of the image"
    if layer.kind == "pad" and settings.get("mode") == "circular":
        return "it pads with the opposite border"
    if layer.kind == "concat" and cut[settings.get("dim", 0)]:
        return "it joins maps along an axis of the image"
    if layer.kind in ("slice", "split") and cut[settings.get("dim", 0) % len(cut)]:
        return "it counts positions from the border"
    if layer.kind in ("roll", "creation") or layer.operation.name in ("repeat", "tile"):
        return "it counts positions from the border"
    for number, operand in enumerate(layer.operands):
        wide = zip(reversed(operand.shape), reversed(cut), strict=False)
        is_fixed = layer.kind == "elementwise" and number not in layer.places
        if is_fixed and any(along and length > 1 for length, along in wide):
            return "it adds values of the whole map"
    return ""


def changed(whole: Survey, part: Survey) -> str:
    """Why a network computes something else at the size of a part; or ''.

    Its code may ask for the size of the image: for a divisor, a grid of coordinates, a branch.
    """
    layers = {layer.node: layer.kind for layer in whole.network}
    graphs = [list(each.network.program.graph.nodes) for each in (whole, part)]
    if [(n.op, n.name, str(n.target)) for n in graphs[0]] != [
        (n.op, n.name, str(n.target)) for n in graphs[1]
    ]:
        return "it has other layers for images of other sizes"
    for one, other in zip(*graphs, strict=True):
        pair = [tree_map(str, (node.args, node.kwargs)) for node in (one, other)]
        if one.op != "output" and pair[0] != pair[1] and layers.get(one.name) not in _FOLLOWING:
            return f"{one.name}: its settings follow from the size of the image"
    for name, value in whole.network.program.constants.items():
        other = part.network.program.constants.get(name)
        if isinstance(value, Tensor) and not (
            isinstance(other, Tensor)
            and value.shape == other.shape
            and bool(torch.equal(value, other))
        ):
            return f"{name}: its values follow from the size of the image"
    for layer in whole.network:
        is_scaled = layer.kind == "upsample" and layer.name in whole.needed
        if is_scaled and _factors(layer) != _factors(part.network[layer.name]):
            return f"{layer.name}: its factor follows from the size of the image"
    return ""


def _factors(layer: Layer) -> list[Fraction]:
    pairs = zip(layer.operands[0].shape[2:], layer.shape[2:], strict=True)
    return [Fraction(after, before) for before, after in pairs]


def _period(survey: Survey) -> list[int]:
    """After how many pixels of the image every layer has moved by whole positions."""
    steps = strides(survey.network)
    dims = len(survey.image.shape) - 2
    periods = [1] * dims
    for name in survey.needed:
        for axis, step in steps[name].items():
            periods[axis] = lcm(periods[axis], Fraction(step).numerator)
    return periods


def part_of(survey: Survey, spans: Sequence[Span], tile: Sequence[int]) -> tuple[Span, ...]:
    """The part of the image that a tile runs on; all parts of an image have one size.

    So one program serves all tiles. It begins at a multiple of all strides, and its length leaves
    the same rest by them as the image's, so that the last part ends where the image ends.

    Args:
        survey: of the network.
        spans: of the output, at most a tile.
        tile: the lengths of a tile.
    """
    needs = ranges(survey, {survey.output: tile_spans(survey, spans)})
    read = needs.spans[survey.image.name, 0][2:]
    parts = []
    for span, by, length, part in zip(
        read, _period(survey), survey.image.shape[2:], part_size(survey, tile), strict=True
    ):
        start = max(0, min(span[0] // by * by, length - part))
        parts.append((start, max(start + part, span[1])))
    return tuple(parts)


def part_size(survey: Survey, tile: Sequence[int]) -> list[int]:
    """The lengths of a part: what a tile in the middle reads, wherever it begins."""
    spans = [
        ((total - length) // 2, (total - length) // 2 + length)
        for total, length in zip(output_size(survey), tile, strict=True)
    ]
    needs = ranges(survey, {survey.output: tile_spans(survey, spans)})
    sizes = []
    for (start, stop), by, length in zip(
        needs.spans[survey.image.name, 0][2:], _period(survey), survey.image.shape[2:], strict=True
    ):
        least = max(stop - start + 2 * by, _WIDEST * by)
        sizes.append(min(length, least + (length - least) % by))
    return sizes


def compiled_peak(survey: Survey, tile: Sequence[int]) -> int:
    """The bytes of tensors alive while a tile runs."""
    shape = survey.image.shape
    pixels = prod(part_size(survey, tile))
    outputs = pixels * prod(survey.result.shape) // prod(shape[2:])
    # The image as it is read, as floats and as the kernels take it; the output, and what is kept.
    return 3 * 4 * pixels * shape[1] + 2 * 4 * outputs + _RINGS


def largest_tile(survey: Survey, memory: int) -> tuple[int, ...]:
    """The largest tile whose tensors fit a budget.

    Raises:
        ArgumentError: if not even the smallest tile fits.
    """
    size = output_size(survey)
    low, high = 0, -(-min(max(size), LARGEST) // SMALLEST)
    while low < high:
        middle = (low + high + 1) // 2
        tile = tuple(min(length, middle * SMALLEST) for length in size)
        if compiled_peak(survey, tile) <= memory:
            low = middle
        else:
            high = middle - 1
    if not low:
        raise ArgumentError(
            f"no tile of {survey.network.name} fits memory={memory}: kernels and a tile with a "
            f"side of {SMALLEST} need {compiled_peak(survey, [SMALLEST] * len(size))}"
        )
    return tuple(even(length, min(length, low * SMALLEST)) for length in size)


class CompiledTiles(Compute):
    """Computes parts of the output in kernels that are compiled once."""

    def __init__(self, survey: Survey, prepare: Prepare, tile: Sequence[int], threads: int) -> None:
        self.survey, self.prepare = survey, prepare
        self.tile, self.threads = tuple(tile), threads
        self._compiled: dict[tuple[int, ...], Compiled] = {}
        self._lock = Lock()

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The output at spans of the dimensions that are cut."""
        survey = self.survey
        part = part_of(survey, spans, self.tile)
        patch = read_image(source, self.prepare, survey, image, ((0, 1), (0, 1), *part))
        with torch.no_grad():
            results = self._network(patch.tensor)(patch.tensor)
        output = _pick(results, survey)
        steps = strides(survey.network)[survey.output]
        axes = survey.axes[survey.output]
        origin = [
            0 if axis is None else int(part[axis][0] / Fraction(steps[axis])) for axis in axes
        ]
        return output[slices(tile_spans(survey, spans), origin)]

    def _network(self, example: Tensor) -> Compiled:
        """The network compiled at the size of a part."""
        key = tuple(example.shape)
        with self._lock:
            if key not in self._compiled:
                network = self.survey.network
                if network.model is None:
                    raise ArgumentError(
                        f"{network.name} was exported at fixed sizes: backend='torch' can tile it"
                    )
                self._compiled[key] = compile(
                    network.model, example, threads=self.threads, part_of=network
                )
                while len(self._compiled) > _SIZES:
                    self._compiled.pop(next(iter(self._compiled)))
            return self._compiled[key]


def _pick(results: Any, survey: Survey) -> Tensor:
    """The output that is computed, of a tensor, a tuple or a dict of them."""
    if isinstance(results, dict):
        results = list(results.values())
    if isinstance(results, (tuple, list)):
        results = results[survey.network.outputs.index(survey.output)]
    output: Tensor = results
    return output
