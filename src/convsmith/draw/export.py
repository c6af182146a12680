"""A scene into a file: the suffix names the format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from convsmith.errors import ArgumentError
from convsmith.report.saving import check_target, save_bytes, save_text

if TYPE_CHECKING:
    from convsmith.draw.scene import Scene

__all__ = ["SUFFIXES", "save"]

SUFFIXES = (".svg", ".gif", ".png", ".mp4", ".html")


def save(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    language: str | None = None,
    theme: str | None = None,
    strip: bool = False,
    scale: float | None = None,
) -> Path:
    """Write a scene; see `Scene.save`."""
    from convsmith.draw.picture import picture

    target = Path(path)
    suffix = target.suffix.lower()
    suffix = ".html" if suffix == ".htm" else suffix
    if suffix not in SUFFIXES:
        raise ArgumentError(f"a scene is saved as {', '.join(SUFFIXES)}, not as {target.name!r}")
    if strip and suffix not in (".svg", ".png"):
        raise ArgumentError(f"a strip is still: .svg or .png, not {target.name!r}")
    check_target(target, force)
    if suffix in (".svg", ".html"):
        if suffix == ".svg":
            made = scene.svg(language=language, theme=theme, strip=strip) + "\n"
        else:
            made = scene.html(language=language, theme=theme)
        return save_text(target, made, force)
    laid = picture(scene, language or scene.language, theme or scene.theme)
    if suffix == ".gif":
        from convsmith.draw.raster import gif

        data = gif(laid, scale or 1.0)
    elif suffix == ".mp4":
        from convsmith.draw.movie import mp4

        data = mp4(laid, scale or 2.0)
    else:
        from convsmith.draw.raster import png
        from convsmith.draw.strip import strip_of

        data = png(strip_of(laid) if strip else laid, scale or 2.0)
    return save_bytes(target, data, force)
