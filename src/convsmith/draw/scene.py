"""A scene is plain data: grids of cells, what happens in each step, and texts in no language yet.

Whoever builds a scene says what is where; whoever renders it says how it looks. Places are in
pixels of the drawing at its natural size, x to the right and y down.
"""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from convsmith.draw.words import Text

__all__ = [
    "CELL",
    "At",
    "Cell",
    "Link",
    "Mark",
    "Panel",
    "Photo",
    "Scene",
    "Step",
    "Symbol",
    "Write",
]

CELL = 30.0
"""Pixels that the side of a cell takes unless its panel says otherwise."""

At = tuple[int, int]
"""Row and column within a panel."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a panel: the value that it has from the start, or None.

    `role` says what sets it apart from its panel: `padding`, `unread`, `gap`, `cropped`, `extra`,
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
    """Cells of a panel that a step sets off: `window`, `current`, `active`, `source`, `stamped`."""

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
    """What one step sets off, writes, joins and says."""

    caption: Text
    marks: tuple[Mark, ...] = ()
    writes: tuple[Write, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, repr=False)
class Scene:
    """A drawing in steps, apart from how it is rendered.

    Attributes:
        kind: what is drawn, such as `dilated`.
        title: shown above the drawing.
        description: read out, and shown to whoever cannot see the drawing.
        notes: lines of facts under the title.
        panels: the grids.
        symbols: the signs between them.
        photos: images that lie under the panels.
        steps: in order; at least one.
        language: `en` or `zh`, unless a renderer is told otherwise.
        theme: `auto` (as the reader's system), `light` or `dark`.

    >>> import convsmith as cs
    >>> cs.draw.animate(cs.Conv(1, 1, 3), 5)
    Scene('standard', 3 panels, 9 steps)
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
        return f"Scene({self.kind!r}, {len(self.panels)} panels, {len(self.steps)} steps)"

    def panel(self, name: str) -> Panel:
        """The panel of that name."""
        return next(panel for panel in self.panels if panel.name == name)

    def values(self, name: str, step: int = -1) -> dict[At, Any]:
        """What the cells of a panel show in a step, by default the last."""
        shown = {cell.at: cell.value for cell in self.panel(name).cells}
        last = range(len(self.steps))[step]
        for done in self.steps[: last + 1]:
            shown |= {write.at: write.value for write in done.writes if write.panel == name}
        return shown

    def svg(
        self, *, language: str | None = None, theme: str | None = None, strip: bool = False
    ) -> str:
        """The animated drawing; with `strip`, all steps as one still, the last first.

        It stops while the pointer is over it or it has the focus. Where the reader asks for less
        motion, and in print, it is still and shows the last step.

        >>> import convsmith as cs
        >>> cs.draw.animate(cs.Conv(1, 1, 3), 5).svg().splitlines()[1]
        '<title>Convolution</title>'
        """
        from convsmith.draw.svg import to_svg

        return to_svg(self._picture(language, theme, strip))

    def html(self, *, language: str | None = None, theme: str | None = None) -> str:
        """A page of its own that plays, pauses and steps; it needs no network."""
        from convsmith.draw.player import player

        return player(self._picture(language, theme, False))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        force: bool = False,
        language: str | None = None,
        theme: str | None = None,
        strip: bool = False,
        scale: float | None = None,
    ) -> Path:
        """Write the scene in the format that the suffix names, the same bytes every time.

        Args:
            path: `.svg` and `.gif` and `.mp4` move, `.html` has buttons, `.png` shows the last
                step.
            force: whether a file that exists may be replaced.
            language: `en` or `zh`; by default the scene's.
            theme: `light`, `dark` or, in SVG and HTML, `auto`; by default the scene's.
            strip: all steps beside one another, the last first (`.svg` and `.png`).
            scale: pixels of an image a pixel of the drawing; by default 2, and 1 in a GIF.

        Raises:
            ArgumentError: another suffix, or a file that cannot be written.
            MissingExtra: PNG, GIF or MP4 without Pillow.
            ConvsmithError: MP4 without ffmpeg, or Chinese without a font that has it.
        """
        from convsmith.draw.export import save

        return save(
            self, path, force=force, language=language, theme=theme, strip=strip, scale=scale
        )

    def to_dict(self) -> dict[str, Any]:
        """The scene as dicts, lists, strings and numbers; infinities are strings."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def _picture(self, language: str | None, theme: str | None, strip: bool) -> Any:
        from convsmith.draw.picture import picture

        made = picture(self, language or self.language, theme or self.theme)
        if not strip:
            return made
        from convsmith.draw.strip import strip_of

        return strip_of(made)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        return f"<div>{self.svg()}</div>"


def _plain(value: Any) -> Any:
    if isinstance(value, Text):
        return {"text": value.key, **{name: _plain(v) for name, v in value.parameters}}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if isfinite(value) else str(float(value))
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)
