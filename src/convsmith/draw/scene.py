"""`Scene`: a storyboard that can be shown, played and saved."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, fields, is_dataclass
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from convsmith.draw.picture import picture
from convsmith.draw.shapes import Picture
from convsmith.draw.storyboard import Storyboard
from convsmith.draw.strip import strip_of
from convsmith.draw.svg import to_svg
from convsmith.draw.words import Text

__all__ = ["Scene"]


@dataclass(frozen=True, repr=False)
class Scene(Storyboard):
    """A drawing in steps: shown as SVG or as a page, and saved in five formats.

    >>> import convsmith as cs
    >>> cs.draw.animate(cs.Conv(1, 1, 3), 5)
    Scene('standard', 3 panels, 9 steps)
    """

    def svg(
        self, *, language: str | None = None, theme: str | None = None, strip: bool = False
    ) -> str:
        """The animated drawing; with `strip`, all steps as one still, the last first.

        It pauses while the pointer is over it or it has the focus. For readers who ask for less
        motion, and in print, it stands still and shows the last step.

        >>> import convsmith as cs
        >>> cs.draw.animate(cs.Conv(1, 1, 3), 5).svg().splitlines()[1]
        '<title>Convolution</title>'
        """
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
            scale: pixels of the image per pixel of the drawing; by default 2, and 1 in a GIF.

        Raises:
            ArgumentError: another suffix, or a file that cannot be written.
            MissingExtra: PNG, GIF or MP4 without Pillow.
            ConvsmithError: MP4 without ffmpeg, or Chinese without a font that has it.
        """
        from convsmith.draw.writing import write

        return write(
            self, path, force=force, language=language, theme=theme, strip=strip, scale=scale
        )

    def to_dict(self) -> dict[str, Any]:
        """The scene as dicts, lists, strings and numbers; infinities are strings."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def _picture(self, language: str | None, theme: str | None, strip: bool) -> Picture:
        whole = picture(self, language or self.language, theme or self.theme)
        return strip_of(whole) if strip else whole

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
