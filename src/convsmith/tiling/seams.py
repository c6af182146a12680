"""The seam meter: where the usual sliding window differs from the exact result, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convsmith.report import Column, Result, Table, map_picture, number, percent, plain, save_text
from convsmith.text import times
from convsmith.tiling.compute import Compute
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.interpreter import Statistics
from convsmith.tiling.spans import Span
from convsmith.tiling.stores.source import Source

__all__ = ["Seams", "measure_seams"]

_SIDE = 360
"""The longest side of the map of differences, in cells."""


@dataclass(frozen=True, repr=False, eq=False)
class Seams(Result):
    """Where overlapping windows differ from the whole image's result.

    Attributes:
        network: its name.
        window: the lengths of a window of the image.
        overlap: of neighbouring windows.
        blend: of a window's positions.
        largest: the largest difference of a value.
        mean: the mean difference.
        scale: the largest value of the exact result, to compare with.
        changed: the share of positions where another channel is the largest; None with one channel.
        map: the largest difference in each cell of a coarse grid.
    """

    network: str
    window: tuple[int, ...]
    overlap: float
    blend: str
    largest: float
    mean: float
    scale: float
    changed: float | None
    map: NDArray[np.float32] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return {"report": "tile seams", "version": 1} | super().to_dict() | {"map": plain(self.map)}

    def table(self) -> Table:
        """A row per figure."""
        rows = [
            ("windows", f"{times(self.window)}, overlap {self.overlap}, {self.blend}"),
            ("largest value", number(self.scale)),
            ("largest difference", number(self.largest)),
            ("mean difference", number(self.mean)),
        ]
        if self.changed is not None:
            rows.append(("another class", percent(self.changed)))
        return Table([Column("what", "seams"), Column("value", self.network, wrap=True)], rows)

    def picture(self) -> str:
        """The map of differences, as SVG."""
        plane = self.map if self.map.ndim == 2 else self.map.reshape(1, -1)
        return map_picture(plane.tolist(), title="Where windows differ from the whole image")

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write the picture to an SVG file."""
        return save_text(path, self.picture(), force)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + self.picture()

    def __repr__(self) -> str:
        changed = "" if self.changed is None else f", {self.changed:.2%} of positions change class"
        return f"Seams({self.network}: largest difference {self.largest:.3g}{changed})"


def measure_seams(
    exact: Compute,
    windows: Compute,
    source: Source,
    geometry: Geometry,
    known: Sequence[Statistics],
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Compute each unit both ways, and gather how they differ; neither exists in full."""
    largest = scale = total = changed = 0.0
    positions = values = 0
    channels = 1
    size = geometry.size
    cell = max(1, -(-max(size, default=1) // _SIDE))
    cells = np.zeros([-(-n // cell) for n in size], np.float32)
    for done, unit in enumerate(geometry.units()):
        spans = geometry.spans(unit)
        statistics = known[unit[0]] if known else Statistics()
        with torch.no_grad():
            whole = exact(source, unit[0], spans, statistics).float()
            blended = windows(source, unit[0], spans, statistics).float()
        difference = (whole - blended).abs()
        channels = whole.shape[1]
        largest = max(largest, float(difference.max()))
        scale = max(scale, float(whole.abs().max()))
        total += float(difference.double().sum())
        values += difference.numel()
        changed += float((whole.argmax(1) != blended.argmax(1)).sum())
        positions += difference.numel() // channels
        _note(cells, difference.amax((0, 1)).cpu().numpy(), spans, cell)
        progress("comparing", done + 1, geometry.number)
    if cells.ndim == 3:
        cells = cells.max(0)
    return {
        "largest": largest,
        "mean": total / max(values, 1),
        "scale": scale,
        "changed": changed / max(positions, 1) if channels > 1 else None,
        "map": cells,
    }


def _note(cells: NDArray[np.float32], part: NDArray[Any], spans: Sequence[Span], cell: int) -> None:
    """Keep the largest difference in each cell that a part touches."""
    places = np.meshgrid(*(np.arange(*span) // cell for span in spans), indexing="ij")
    np.maximum.at(cells, tuple(places), part)
