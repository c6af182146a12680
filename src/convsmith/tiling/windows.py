"""The usual sliding window: overlapping windows, each run by itself, blended where they overlap.

It is not the whole image's result: each window is padded at its own border. A network trained on
padded patches may do better so. Windows, weights and order are those of MONAI's
`sliding_window_inference`, but only the windows that a unit touches are run for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.errors import ArgumentError
from convsmith.tiling.compute import Compute
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.spans import Span
from convsmith.tiling.stores.source import Source
from convsmith.tiling.survey import Survey

__all__ = ["BLENDS", "Windows", "importance", "starts"]

BLENDS = ("gaussian", "constant")

_SIGMA = 0.125
"""Standard deviation of the Gaussian, as a share of a window: MONAI's and nnU-Net's value."""

_LEAST = 1e-3
"""The least weight of a position, so that corners are not divided by nothing: MONAI's value."""


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: evenly spaced, the last one moved back to the end.

    >>> starts(10, 4, 0.25)
    [0, 3, 6]
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(length - window) // step) + 1
    return [min(i * step, length - window) for i in range(count)]


def importance(window: Sequence[int], blend: str) -> Tensor:
    """The weight of each position of a window."""
    if blend == "constant":
        return torch.ones(tuple(window))
    weights = torch.ones(())
    for length in window:
        at = torch.arange(-(length - 1) / 2, (length - 1) / 2 + 1, dtype=torch.float32)
        weights = weights.unsqueeze(-1) * torch.exp(at**2 / (-2 * (length * _SIGMA) ** 2))
    return weights.clamp(min=max(float(weights.min()), _LEAST))


class Windows(Compute):
    """Computes parts of the blended output; the network was traced at the size of a window."""

    def __init__(
        self, interpreter: Interpreter, prepare: Prepare, overlap: float, blend: str
    ) -> None:
        self.interpreter, self.prepare = interpreter, prepare
        self.overlap, self.blend = overlap, blend
        surveyed = interpreter.survey
        self.window = tuple(surveyed.image.shape[2:])
        if len(surveyed.result.shape) != len(self.window) + 2:
            raise ArgumentError(
                f"windows need an output with batch, channels and {len(self.window)} axes; "
                f"that of {surveyed.network.name} has shape {surveyed.result.shape}"
            )
        self.ratios = tuple(
            Fraction(after, before)
            for after, before in zip(surveyed.result.shape[2:], self.window, strict=True)
        )

    @cached_property
    def _module(self) -> Any:
        return self.interpreter.survey.network.program.module(check_guards=False).to(
            self.interpreter.device
        )

    @cached_property
    def _weights(self) -> Tensor:
        return importance(self.interpreter.survey.result.shape[2:], self.blend).to(
            self.interpreter.device
        )

    @staticmethod
    def sizes(surveyed: Survey, overlap: float, size: Sequence[int]) -> tuple[int, ...]:
        """The lengths of the output for an image of a size.

        Raises:
            ArgumentError: where windows do not fall on whole positions of the output.
        """
        lengths = []
        for length, window, after in zip(
            size, surveyed.image.shape[2:], surveyed.result.shape[2:], strict=True
        ):
            ratio = Fraction(after, window)
            places = [s * ratio for s in (*starts(length, window, overlap), length)]
            if any(place.denominator != 1 for place in places):
                raise ArgumentError(
                    f"windows of {window} on {length} positions do not fall on whole positions "
                    f"of an output that is {ratio} as long: choose tile and overlap to fit"
                )
            lengths.append(int(length * ratio))
        return tuple(lengths)

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The blended output at spans of its axes."""
        size = source.size
        margins = [max(0, w - n) // 2 for n, w in zip(size, self.window, strict=True)]
        moved = [  # in a map that starts where a padded image starts
            (a + int(m * r), b + int(m * r))
            for (a, b), m, r in zip(spans, margins, self.ratios, strict=True)
        ]
        total: Tensor | None = None
        weight = torch.zeros([b - a for a, b in moved], device=self.interpreter.device)
        for corner in product(*self._touching(size, moved)):
            result = self._run(source, image, corner, size, margins)
            here, there = self._overlap(corner, moved)
            share = self._weights[there]
            if total is None:
                shape = (*result.shape[:2], *weight.shape)
                total = torch.zeros(shape, dtype=result.dtype, device=result.device)
            total[here] += result[there] * share
            weight[here] += share
        assert total is not None
        return total / weight

    def _touching(self, size: Sequence[int], spans: Sequence[Span]) -> list[list[int]]:
        """For each axis the windows that overlap the spans."""
        return [
            [
                start
                for start in starts(length, window, self.overlap)
                if start * ratio < stop and (start + window) * ratio > first
            ]
            for length, window, ratio, (first, stop) in zip(
                size, self.window, self.ratios, spans, strict=True
            )
        ]

    def _run(
        self,
        source: Source,
        image: int,
        corner: Sequence[int],
        size: Sequence[int],
        margins: Sequence[int],
    ) -> Tensor:
        spans, sides = [], []
        for start, window, length, margin in zip(corner, self.window, size, margins, strict=True):
            low = start - margin
            spans.append((max(0, low), min(length, low + window)))
            sides.append((max(0, -low), max(0, low + window - length)))
        kind = getattr(torch, self.interpreter.survey.image.results[0].dtype)
        part = source.read(image, ((0, 1), (0, 1), *spans)[2:])
        tensor = self.prepare(part, kind).to(self.interpreter.device)
        if any(map(any, sides)):
            tensor = F.pad(tensor, [side for pair in reversed(sides) for side in pair])
        with torch.no_grad():
            results = self._module(tensor)
        if isinstance(results, dict):
            results = list(results.values())
        names = self.interpreter.survey.network.outputs
        if isinstance(results, (tuple, list)):
            results = results[names.index(self.interpreter.survey.output)]
        output: Tensor = results
        return output

    def _overlap(self, corner: Sequence[int], spans: Sequence[Span]) -> tuple[Any, Any]:
        """Where a window's output falls in a part, and which part of it that is."""
        here, there = [], []
        for start, window, ratio, (first, stop) in zip(
            corner, self.window, self.ratios, spans, strict=True
        ):
            origin, end = int(start * ratio), int((start + window) * ratio)
            low, high = max(origin, first), min(end, stop)
            here.append(slice(low - first, high - first))
            there.append(slice(low - origin, high - origin))
        return (..., *here), (..., *there)
