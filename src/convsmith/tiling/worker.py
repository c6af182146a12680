"""A worker computes one unit of the target at a time and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import perf_counter

import numpy as np
import torch

from convsmith.tiling.compute import Compute
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.manifest import Record, Unit
from convsmith.tiling.mask import Mask
from convsmith.tiling.reduce import Histogram, Reducer
from convsmith.tiling.spans import Span, slices
from convsmith.tiling.stores.source import Source
from convsmith.tiling.stores.target import Target

__all__ = ["Worker"]


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
        digest = blake2b(part.reshape(-1).view(np.uint8).data, digest_size=8).hexdigest()
        return Record(unit, digest, False, counts, perf_counter() - begin)

    def _tile(
        self, image: int, tile: Sequence[Span], buffer: np.ndarray, unit: Sequence[Span]
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
        origin = [start for start, _ in self.geometry.full(unit)]
        with torch.no_grad():
            for spans, output in self.compute.pieces(self.source, image, tile, known):
                values = self.reducer(output)[0].cpu().numpy()
                place = slices(self.geometry.full(spans), origin)
                if asked is None:
                    buffer[place] = values
                    continue
                wanted = asked[slices(spans, [start for start, _ in tile])]
                shape = [1] * buffer.ndim
                for where, length in zip(self.geometry.cut, wanted.shape, strict=True):
                    shape[where] = length
                buffer[place] = np.where(wanted.reshape(shape), values, buffer[place])
