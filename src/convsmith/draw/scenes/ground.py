"""What a window slides over: maps with their padding, and where each padded value comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from convsmith.arithmetic import Positions, Window
from convsmith.arithmetic.window import source_index
from convsmith.draw.lettering import shown
from convsmith.draw.scenes.values import At3, grid, nested
from convsmith.draw.storyboard import CELL, Cell, Mark, Panel
from convsmith.draw.words import Text, text

__all__ = ["Ground", "panel_name", "side_of"]


@dataclass(frozen=True)
class Ground:
    """Padded maps of three axes, cut to the positions that are shown.

    Attributes:
        maps: the value of a channel at a place of three axes, without padding.
        windows: one per axis.
        length: the lengths of the maps.
        size: the lengths that are shown, padding included.
        mode: what padding holds.
        filling: the value of zero padding; -inf under a max pool.
        dims: spatial axes of the layer itself.
        gaps: every how many positions a map has a value of its own, zeros between.
        shift: positions before the maps' first; by default the windows' padding, and less than 0
            where the maps are cut off.
    """

    maps: Callable[[int, At3], Any]
    windows: tuple[Window, ...]
    length: At3
    size: At3
    mode: str = "zeros"
    filling: Any = 0
    dims: int = 2
    gaps: At3 = (1, 1, 1)
    shift: At3 | None = None

    @property
    def low(self) -> At3:
        """Positions shown before the maps' own first one."""
        if self.shift is not None:
            return self.shift
        depth, row, column = (w.padding[0] for w in self.windows)
        return depth, row, column

    def source(self, at: At3) -> At3 | None:
        """The real position whose value is shown at a place; None where it is the filling."""
        places = [
            source_index(place - low, length, self.mode)
            for place, low, length in zip(at, self.low, self.length, strict=True)
        ]
        return None if None in places else (places[0] or 0, places[1] or 0, places[2] or 0)

    def is_real(self, at: At3) -> bool:
        """Whether a place is not padding."""
        return all(
            0 <= place - low < length
            for place, low, length in zip(at, self.low, self.length, strict=True)
        )

    def value(self, channel: int, at: At3) -> Any:
        """The value shown at a place."""
        source = self.source(at)
        return self.filling if source is None else self.maps(channel, source)

    def padded(self, channels: Sequence[int]) -> Any:
        """The maps of some channels as they are shown."""
        return [nested(self.size, partial(self.value, channel)) for channel in channels]

    def reads(self, at: At3) -> list[At3]:
        """The places under the window of an output, tap by tap."""
        return [
            tuple(
                o * w.stride + t * w.dilation for o, t, w in zip(at, tap, self.windows, strict=True)
            )
            for tap in grid([w.kernel for w in self.windows])
        ]

    def panels(
        self,
        channels: Sequence[int],
        outputs: Sequence[int],
        labels: Sequence[Text],
        tones: Sequence[int] = (),
    ) -> list[Panel]:
        """One panel per channel and slice; what none of `outputs` reads is marked."""
        read = [
            set(w.reads(Positions.range(0, count)).shift(w.padding[0]))
            for w, count in zip(self.windows, outputs, strict=True)
        ]
        panels = []
        for index, channel in enumerate(channels):
            for depth in range(self.size[0]):
                cells = []
                for row, column in grid(self.size[1:]):
                    at = (depth, row, column)
                    role = self._role(at)
                    if not all(place in seen for place, seen in zip(at, read, strict=True)):
                        role = f"{role} unread".strip()
                    cells.append(Cell((row, column), self.value(channel, at), role))
                label = labels[index]
                if self.dims == 3:
                    label = text("panel.slice", number=shown(depth - self.low[0]))
                name = panel_name("input", (channel,), depth, self.dims)
                size = (self.size[1], self.size[2])
                tone = tones[index] if tones else None
                side = side_of(self.size, self.dims)
                panels.append(
                    Panel(name, "input", size, tuple(cells), label=label, side=side, tone=tone)
                )
        return panels

    def marks(self, channels: Sequence[int], output: At3) -> list[Mark]:
        """What the window of an output reads, and what the padding under it was copied from."""
        places = self.reads(output)
        sources = [
            tuple(p + low for p, low in zip(source, self.low, strict=True))
            for place in places
            if not self.is_real(place) and (source := self.source(place)) is not None
        ]
        seen = [
            place
            for place in sources
            if all(p < length for p, length in zip(place, self.size, strict=True))
        ]
        marks = []
        for channel in channels:
            for role, where in (("window", places), ("source", seen)):
                for depth in sorted({place[0] for place in where}):
                    cells = tuple(
                        (row, column) for d, row, column in dict.fromkeys(where) if d == depth
                    )
                    name = panel_name("input", (channel,), depth, self.dims)
                    marks.append(Mark(name, role, cells))
        return marks

    def _role(self, at: At3) -> str:
        if not self.is_real(at):
            return "padding"
        on_gap = any(
            (place - low) % gap for place, low, gap in zip(at, self.low, self.gaps, strict=True)
        )
        return "gap" if on_gap else ""


def panel_name(kind: str, numbers: Sequence[int], depth: int, dims: int) -> str:
    """The name of a panel, such as `kernel1.0`; a map of three axes has one panel per slice.

    >>> panel_name("kernel", (1, 0), 0, 2), panel_name("input", (0,), 4, 3)
    ('kernel1.0', 'input0.4')
    """
    return f"{kind}{'.'.join(map(str, numbers))}" + (f".{depth}" if dims == 3 else "")


def side_of(size: Sequence[int], dims: int) -> float:
    """Pixels of a cell: less where there are many."""
    if dims == 3:
        return 24.0
    longest = max(size)
    return CELL if longest <= 10 else 26.0 if longest <= 14 else 22.0
