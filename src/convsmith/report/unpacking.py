"""Pictures of strangers: which formats Pillow may read, and how many pixels a file may declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convsmith.errors import DataError

__all__ = ["FORMATS", "check_pixels"]

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")
"""Pillow goes by the content, whatever the name: without this a `.png` could start Ghostscript."""

# More than this only if the file is large enough for it: a few hundred bytes can declare any size.
_PIXELS_OF_A_SMALL_FILE, _PIXELS_PER_BYTE = 1 << 24, 1000


def check_pixels(path: str | Path, image: Any, most: int | None = None) -> None:
    """Refuse an opened picture that would unpack to more than its file can hold, or than `most`.

    Raises:
        DataError: naming the size that it declares.
    """
    likely = max(_PIXELS_OF_A_SMALL_FILE, Path(path).stat().st_size * _PIXELS_PER_BYTE)
    if image.height * image.width > (likely if most is None else min(most, likely)):
        image.close()
        raise DataError(
            f"{path} would unpack to {image.height}×{image.width} pixels: it is not opened"
        )
