"""Blends windows: streamed in strips, so that no more than a window's height is being summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.tiling.compute import Compute, Piece
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.prepare import Prepare
from convsmith.tiling.spans import Span
from convsmith.tiling.stores.source import Source
from convsmith.tiling.windows import importance, ratios, touching

__all__ = ["Blend"]


class Blend(Compute):
    """Computes parts of the blended output; the network was traced at the size of a window."""

    def __init__(
        self, interpreter: Interpreter, prepare: Prepare, overlap: float, blend: str
    ) -> None:
        self.interpreter, self.prepare = interpreter, prepare
        self.overlap, self.blend = overlap, blend
        self.window = tuple(interpreter.survey.image.shape[2:])
        self.ratios = ratios(interpreter.survey)

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

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The blended output at spans of its axes."""
        return torch.cat([part for _, part in self.pieces(source, image, spans, known)], 2)

    def pieces(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Iterator[Piece]:
        """The same in strips along the first axis: each is done when its last window has run."""
        size = source.size
        margins = [max(0, w - n) // 2 for n, w in zip(size, self.window, strict=True)]
        shifts = [int(m * r) for m, r in zip(margins, self.ratios, strict=True)]
        # In a map that starts where a padded image starts.
        moved = [(a + shift, b + shift) for (a, b), shift in zip(spans, shifts, strict=True)]
        rows, *others = (
            touching(length, window, self.overlap, ratio, span)
            for length, window, ratio, span in zip(
                size, self.window, self.ratios, moved, strict=True
            )
        )
        (at, stop), rest = moved[0], moved[1:]
        sums = weights = torch.zeros(0)
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            end = min(stop, int((row + self.window[0]) * self.ratios[0]))
            sums, weights = (
                self._longer(sums, (at, end), rest),
                self._longer(weights, (at, end), rest, channels=False),
            )
            for corner in product([row], *others):
                result = self._run(source, image, corner, size, margins)
                here, there = self._overlap(corner, [(at, end), *rest])
                share = self._weights[there]
                sums[here] += result[there] * share
                weights[here] += share
            done = stop if following is None else min(stop, int(following * self.ratios[0]))
            if done > at:
                strip = sums[:, :, : done - at] / weights[: done - at]
                yield ((at - shifts[0], done - shifts[0]), *spans[1:]), strip
                sums, weights, at = sums[:, :, done - at :], weights[done - at :], done

    def _longer(
        self, sums: Tensor, rows: Span, rest: Sequence[Span], channels: bool = True
    ) -> Tensor:
        """Sums that go on to the end of another row of windows."""
        kind = self.interpreter.survey.result
        lengths = [rows[1] - rows[0], *(b - a for a, b in rest)]
        before = [1, kind.shape[1]] if channels else []
        dtype = getattr(torch, kind.results[0].dtype) if channels else torch.float32
        longer = torch.zeros([*before, *lengths], dtype=dtype, device=self.interpreter.device)
        if sums.ndim == longer.ndim:
            longer.narrow(len(before), 0, sums.shape[len(before)]).copy_(sums)
        return longer

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
