"""Pixels as PNG, by the standard library alone."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from convsmith.errors import ArgumentError

__all__ = ["png_of", "size_of"]


def png_of(pixels: Any) -> bytes:
    r"""Encode an image, the same bytes for the same numbers.

    Args:
        pixels: nested lists or an array, shaped (rows, columns) for grey or (rows, columns, 3) for
            red, green and blue, each a whole number from 0 to 255.

    Raises:
        ArgumentError: another shape, or numbers out of range.

    >>> png_of([[0, 255], [255, 0]])[:4]
    b'\x89PNG'
    """
    rows = pixels.tolist() if hasattr(pixels, "tolist") else pixels
    high, wide = size_of(rows)
    coloured = isinstance(rows[0][0], (list, tuple))
    try:
        lines = [
            bytes([0, *(level for pixel in row for level in pixel)] if coloured else [0, *row])
            for row in rows
        ]
    except (TypeError, ValueError):
        raise ArgumentError("an image holds whole numbers from 0 to 255") from None
    if {len(line) for line in lines} != {1 + wide * (3 if coloured else 1)}:
        raise ArgumentError("an image is shaped (rows, columns) or (rows, columns, 3)")
    head = struct.pack(">IIBBBBB", wide, high, 8, 2 if coloured else 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def size_of(pixels: Any) -> tuple[int, int]:
    """Rows and columns of an image.

    >>> size_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    try:
        high, wide = len(pixels), len(pixels[0])
    except (TypeError, LookupError):
        high = wide = 0
    if not high or not wide:
        raise ArgumentError("an image is shaped (rows, columns) or (rows, columns, 3)")
    return high, wide
