"""A photograph as a stage shows it: as many pixels as the input has positions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from convsmith.draw.reading import read_image
from convsmith.errors import ArgumentError

__all__ = ["read_photo"]


def read_photo(path: str, size: Sequence[int], channels: int) -> tuple[Any, str]:
    """The pixels of an image file, shrunk to a size, and the same as a `data:` address.

    Args:
        path: an image that Pillow reads.
        size: rows and columns.
        channels: with three, the pixels are red, green and blue; with any other number every
            channel has the grey levels.

    Returns:
        Values from 0 to 255, shaped (channels, rows, columns), and the address.

    Raises:
        ArgumentError: for an input that has not two axes.
        DataError: a file that is not there or cannot be read.
        MissingExtra: without Pillow.
    """
    if len(size) != 2:
        raise ArgumentError(f"an image has two axes, the input has {len(size)}")
    planes = read_image(path, size, 3)

    from PIL import Image

    pixels = bytes(
        value
        for rows in zip(*planes, strict=True)
        for pixel in zip(*rows, strict=True)
        for value in pixel
    )
    kept = BytesIO()
    Image.frombytes("RGB", (size[1], size[0]), pixels).save(kept, "PNG", optimize=True)
    if channels != 3:
        planes = [read_image(path, size, 1)] * channels
    return planes, "data:image/png;base64," + b64encode(kept.getvalue()).decode("ascii")
