"""What a drawing is before it is rendered: grids of cells, and what happens in each step.

Plain data, its texts not yet in any language. The scene decides what stands where; the renderer
decides how it looks. Places are in pixels of the drawing at its natural size, x to
the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from convsmith.draw.words import Text
from convsmith.errors import ArgumentError

__all__ = [
    "CELL",
    "At",
    "Cell",
    "Link",
    "Mark",
    "Panel",
    "Photo",
    "Step",
    "Storyboard",
    "Symbol",
    "Write",
]

CELL = 30.0
"""Side of a cell in pixels, unless its panel has another."""

At = tuple[int, int]
"""Row and column within a panel."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a panel: the value that it has from the start, or None.

    `role` sets it apart from its panel: `padding`, `unread`, `gap`, `cropped`, `extra`,
    `zero`. It covers `span` rows and columns from its place on.
    """

    at: At
    value: Any = None
    role: str = ""
    span: At = (1, 1)


@dataclass(frozen=True, slots=True)
class Panel:
    """A grid of cells at a place; a cell that is not listed is not drawn.

    `role` is `input`, `kernel`, `partial` or `output`; `tone` tells groups apart (None: one group).
    The label stands above the cells, or below.
    """

    name: str
    role: str
    size: At
    cells: tuple[Cell, ...]
    x: float = 0.0
    y: float = 0.0
    label: Text | None = None
    side: float = CELL
    tone: int | None = None
    label_below: bool = False

    @property
    def width(self) -> float:
        """Pixels across."""
        return self.size[1] * self.side

    @property
    def height(self) -> float:
        """Pixels down, without the label above."""
        return self.size[0] * self.side

    def moved(self, x: float, y: float) -> Panel:
        """The panel at another place."""
        return replace(self, x=x, y=y)


@dataclass(frozen=True, slots=True)
class Photo:
    """An image under the panels: the bytes of a PNG, stretched over a rectangle."""

    data: bytes = field(repr=False)
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Symbol:
    """A sign between panels, such as × or =, centred at a place."""

    sign: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Cells that a step highlights: `window`, `current`, `active`, `source`, `stamped`."""

    panel: str
    role: str
    cells: tuple[At, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """A value that a cell shows from a step on."""

    panel: str
    at: At
    value: Any


@dataclass(frozen=True, slots=True)
class Link:
    """A line from a cell to another."""

    start: tuple[str, At]
    end: tuple[str, At]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step highlights, writes, connects and captions."""

    caption: Text
    marks: tuple[Mark, ...] = ()
    writes: tuple[Write, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, repr=False)
class Storyboard:
    """A drawing in steps, apart from how it is rendered.

    Attributes:
        kind: what is drawn, such as `dilated`.
        title: shown above the drawing.
        description: read out by a screen reader.
        panels: the grids.
        steps: in order; at least one.
        notes: lines of facts under the title.
        symbols: the signs between the panels.
        photos: images that lie under the panels.
        language: `en` or `zh`, unless a renderer is given another.
        theme: `auto` (follows the reader's system), `light` or `dark`.
    """

    kind: str
    title: Text
    description: Text
    panels: tuple[Panel, ...]
    steps: tuple[Step, ...]
    notes: tuple[Text, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    photos: tuple[Photo, ...] = ()
    language: str = "en"
    theme: str = "auto"

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self.kind!r}, {len(self.panels)} panels, {len(self.steps)} steps)"

    def panel(self, name: str) -> Panel:
        """The panel of that name.

        Raises:
            ArgumentError: if there is none, with the names that there are.
        """
        for panel in self.panels:
            if panel.name == name:
                return panel
        names = ", ".join(panel.name for panel in self.panels)
        raise ArgumentError(f"no panel {name!r}; there are {names}")

    def values(self, name: str, step: int = -1) -> dict[At, Any]:
        """What the cells of a panel show in a step, by default the last."""
        shown = {cell.at: cell.value for cell in self.panel(name).cells}
        last = range(len(self.steps))[step]
        for done in self.steps[: last + 1]:
            shown |= {write.at: write.value for write in done.writes if write.panel == name}
        return shown
