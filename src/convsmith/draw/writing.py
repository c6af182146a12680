"""A drawing written into a file: the suffix names the format."""

from __future__ import annotations

import os
from pathlib import Path

from convsmith.draw.picture import picture
from convsmith.draw.shapes import Picture
from convsmith.draw.storyboard import Storyboard
from convsmith.draw.strip import strip_of
from convsmith.draw.svg import to_svg
from convsmith.errors import ArgumentError
from convsmith.report.saving import check_target, save_bytes, save_text

__all__ = ["SUFFIXES", "write"]

SUFFIXES = (".svg", ".gif", ".png", ".mp4", ".html")


def write(
    storyboard: Storyboard,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    language: str | None = None,
    theme: str | None = None,
    strip: bool = False,
    scale: float | None = None,
) -> Path:
    """Write a drawing; `Scene.save` describes the arguments and errors."""
    target = Path(path)
    suffix = target.suffix.lower()
    suffix = ".html" if suffix == ".htm" else suffix
    if suffix not in SUFFIXES:
        raise ArgumentError(f"a scene is saved as {', '.join(SUFFIXES)}, not as {target.name!r}")
    if strip and suffix not in (".svg", ".png"):
        raise ArgumentError(f"a strip is still: .svg or .png, not {target.name!r}")
    check_target(target, force)
    whole = picture(storyboard, language or storyboard.language, theme or storyboard.theme)
    drawing = strip_of(whole) if strip else whole
    content = _content(suffix, drawing, scale)
    if isinstance(content, bytes):
        return save_bytes(target, content, force)
    return save_text(target, content, force)


def _content(suffix: str, drawing: Picture, scale: float | None) -> str | bytes:
    """What a file of that format holds; only the format asked for is imported."""
    if suffix == ".svg":
        return to_svg(drawing) + "\n"
    if suffix == ".html":
        from convsmith.draw.player import player

        return player(drawing)
    if suffix == ".gif":
        from convsmith.draw.raster import gif

        return gif(drawing, scale or 1.0)
    if suffix == ".mp4":
        from convsmith.draw.movie import mp4

        return mp4(drawing, scale or 2.0)
    from convsmith.draw.raster import png

    return png(drawing, scale or 2.0)
