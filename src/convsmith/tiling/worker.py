"""A worker computes one unit of the target at a time and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convsmith.errors import ArgumentError
from convsmith.text import times
from convsmith.tiling.compute import Compute
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.manifest import Record, Unit
from convsmith.tiling.mask import Mask
from convsmith.tiling.reduce import Histogram, Reducer
from convsmith.tiling.spans import Span, slices
from convsmith.tiling.stores.form import Target
from convsmith.tiling.stores.source import Source

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
        buffer = self._unit(unit, self.source)
        counts: tuple[int, ...] = ()
        if isinstance(self.reducer, Histogram):
            kept = buffer if asked is None else buffer[asked]
            counts = tuple(np.bincount(kept.reshape(-1)).tolist())
        part = self._turned(buffer)
        self.target.write(self.geometry.place(image, spans), part)
        digest = blake2b(part.reshape(-1).view(np.uint8).data, digest_size=8).hexdigest()
        return Record(unit, digest, False, counts, perf_counter() - begin)

    def block(self, unit: Unit, source: Source) -> NDArray[Any]:
        """Compute one unit, from an image that comes with it; nothing is written."""
        return self._turned(self._unit(unit, source))

    def _unit(self, unit: Unit, source: Source) -> NDArray[Any]:
        """One unit of one image."""
        spans, form = self.geometry.spans(unit), self.target.form
        full = self.geometry.full(spans)
        buffer = np.full([b - a for a, b in full], form.fill, dtype=form.dtype)
        for tile in self.geometry.tiles(spans):
            self._tile(source, unit[0], tile, buffer, spans)
        return buffer

    def _turned(self, buffer: NDArray[Any]) -> NDArray[Any]:
        """A unit in the order of the target's dimensions."""
        part = buffer[None] if self.geometry.batched else buffer
        return np.ascontiguousarray(part.transpose(self.geometry.order()))

    def _tile(
        self,
        source: Source,
        image: int,
        tile: Sequence[Span],
        buffer: NDArray[Any],
        origin: Sequence[Span],
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
            for part, output in self.compute.pieces(source, image, tile, known):
                values = self.reducer(output)[0].cpu().numpy()
                within = None
                if asked is not None:
                    within = asked[slices(part, [start for start, _ in tile])]
                self._keep(values, part, within, buffer, origin)

    def _keep(
        self,
        values: NDArray[Any],
        part: Sequence[Span],
        asked: NDArray[np.bool_] | None,
        buffer: NDArray[Any],
        origin: Sequence[Span],
    ) -> None:
        """Put what was computed into a unit, where it is asked for."""
        starts = [start for start, _ in self.geometry.full(origin)]
        place = slices(self.geometry.full(part), starts)
        if values.shape != buffer[place].shape:  # NumPy might spread it over the tile
            raise ArgumentError(
                f"{type(self.reducer).__name__} made {times(values.shape)} of a tile, expected "
                f"{times(buffer[place].shape)}"
            )
        if asked is None:
            buffer[place] = values
            return
        shape = [1] * buffer.ndim
        for where, length in zip(self.geometry.cut, asked.shape, strict=True):
            shape[where] = length
        buffer[place] = np.where(asked.reshape(shape), values, buffer[place])
