"""A worker computes one unit of the target at a time and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.manifest import Record, Unit
from convsmith.tiling.mask import Mask
from convsmith.tiling.reduce import Histogram, Reducer
from convsmith.tiling.spans import Span, slices
from convsmith.tiling.stores.form import Target
from convsmith.tiling.stores.source import Source

__all__ = ["Compute", "Worker"]


class Compute(Protocol):
    """Computes a part of the output of one image."""

    def __call__(
        self, source: Source, image: int, spans: Sequence[Span], known: Statistics
    ) -> Tensor:
        """The output at spans of the dimensions that are cut, with a batch of one."""


class Worker:
    """What computes units: reads, runs the network, reduces, and writes each unit once."""

    def __init__(
        self,
        compute: Compute,
        source: Source,
        target: Target,
        geometry: Geometry,
        reducer: Reducer,
        known: Sequence[Statistics] = (),
        mask: Mask | None = None,
    ) -> None:
        self.compute, self.source, self.target = compute, source, target
        self.geometry, self.reducer = geometry, reducer
        self.known, self.mask = known, mask

    def unit(self, unit: Unit) -> Record:
        """Compute and write one unit."""
        begin = perf_counter()
        image, spans = unit[0], self.geometry.spans(unit)
        asked = None if self.mask is None else self.mask.at(spans)
        if asked is not None and not asked.any():
            return Record(unit, "", masked=True, seconds=perf_counter() - begin)
        form = self.target.form
        full = self.geometry.full(spans)
        buffer = np.full([b - a for a, b in full], form.fill, dtype=form.dtype)
        for tile in self.geometry.tiles(spans):
            self._tile(image, tile, buffer, spans)
        counts: tuple[int, ...] = ()
        if isinstance(self.reducer, Histogram):
            kept = buffer if asked is None else buffer[asked]
            counts = tuple(np.bincount(kept.reshape(-1)).tolist())
        part = buffer[None] if self.geometry.batched else buffer
        part = np.ascontiguousarray(part.transpose(self.geometry.order()))
        self.target.write(self.geometry.place(image, spans), part)
        digest = blake2b(part.tobytes(), digest_size=8).hexdigest()
        return Record(unit, digest, False, counts, perf_counter() - begin)

    def _tile(
        self, image: int, tile: Sequence[Span], buffer: np.ndarray, origin: Sequence[Span]
    ) -> None:
        asked = None
        if self.mask is not None:
            asked = self.mask.at(tile)
            bounds = Mask.bounds(asked, tile)
            if bounds is None:
                return
            asked = asked[slices(bounds, [start for start, _ in tile])]
            tile = bounds
        known = self.known[image] if self.known else Statistics()
        with torch.no_grad():
            reduced = self.reducer(self.compute(self.source, image, tile, known))[0]
        values = reduced.cpu().numpy()
        starts = [start for start, _ in self.geometry.full(origin)]
        place = slices(self.geometry.full(tile), starts)
        if asked is None:
            buffer[place] = values
        else:
            shape = [1] * buffer.ndim
            for where, length in zip(self.geometry.cut, asked.shape, strict=True):
                shape[where] = length
            buffer[place] = np.where(asked.reshape(shape), values, buffer[place])
