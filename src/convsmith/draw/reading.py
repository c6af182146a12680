"""Numbers of your own for a drawing, from a CSV file, a JSON file or an image."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convsmith.errors import ArgumentError, DataError, MissingExtra, first_line, no_file
from convsmith.report.unpacking import FORMATS, check_pixels

__all__ = [
    "optional_values",
    "optional_weight",
    "parse_number",
    "read_image",
    "read_values",
    "read_weight",
]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
# A larger image has to be shrunk first: only a few of its pixels would be drawn.
_PIXELS = 1_000_000
_MOST_PIXELS = 1 << 26
_MOST_BYTES = 1 << 26


def read_values(path: str, size: Sequence[int] | None, channels: int) -> Any:
    """Read an input: numbers from `.csv` or `.json`, grey levels or colours from an image.

    Args:
        path: the file.
        size: rows and columns that an image is shrunk or enlarged to; None leaves it as it is.
        channels: with three, an image gives red, green and blue, otherwise grey.

    Raises:
        ArgumentError: another kind of file, or no numbers in it.
        DataError: a file that is not there or cannot be read.
        MissingExtra: an image, without Pillow.
    """
    if Path(path).suffix.lower() in _IMAGES:
        return read_image(path, size, channels)
    return read_weight(path, "--values")


def read_weight(path: str, name: str = "--weight") -> Any:
    """Read numbers from `.csv` (rows of them) or `.json` (nested lists)."""
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".json"):
        kinds = ".csv or .json" + (" or an image" if name == "--values" else "")
        raise ArgumentError(f"{name} is read from {kinds}, not from {path!r}")
    if file.exists() and not file.is_file():
        raise DataError(f"{path} is not a file")
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} has more than {_MOST_BYTES >> 20} MB: it is too large to draw")
        content = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(no_file(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if suffix == ".json":
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON: {error}") from error
    try:
        rows = [[cell for cell in row if cell.strip()] for row in csv.reader(content.splitlines())]
    except csv.Error as error:
        raise DataError(f"{path} is not CSV: {error}") from error
    numbers = [[parse_number(cell, f"{name} {path}") for cell in row] for row in rows if row]
    if not numbers:
        raise DataError(f"{path} holds no numbers")
    return numbers


def parse_number(text: str, where: str) -> int | float:
    """Read a number, a whole one as such.

    >>> parse_number(" 3", "here"), parse_number("0.5", "here")
    (3, 0.5)
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ArgumentError(f"{where}: {text.strip()!r} is not a number")


def optional_values(path: str | None, size: int | Sequence[int] | None, channels: int) -> Any:
    """The numbers in a file, as `read_values` reads them; None without a file."""
    if path is None:
        return None
    return read_values(path, (size, size) if isinstance(size, int) else size, channels)


def optional_weight(path: str | None, name: str = "--weight") -> Any:
    """The numbers in a file, as `read_weight` reads them; None without a file."""
    return None if path is None else read_weight(path, name)


def read_image(path: str, size: Sequence[int] | None, channels: int) -> Any:
    """Read the pixels of an image, 0 to 255: grey levels, or with three channels three planes.

    Args:
        path: an image that Pillow reads.
        size: rows and columns that it is shrunk or enlarged to; None leaves it as it is.
        channels: three for red, green and blue, otherwise grey.

    Raises:
        ArgumentError: a size of other than two axes, or too many pixels to draw.
        DataError: a file that is not there or cannot be read.
        MissingExtra: without Pillow.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading an image", extra="draw", package="Pillow") from None
    try:
        with Image.open(path, formats=(*FORMATS, "GIF")) as opened:
            check_pixels(path, opened, _MOST_PIXELS)
            image = opened.convert("RGB" if channels == 3 else "L")
    except FileNotFoundError:
        raise DataError(no_file(path)) from None
    except DataError:
        raise
    except Exception as error:  # decoders fail in many ways
        raise DataError(f"{path} cannot be read as an image: {first_line(error)}") from error
    if size is not None:
        if len(size) != 2:
            raise ArgumentError(f"an image has two axes, --in has {len(size)}")
        image = image.resize((size[1], size[0]), Image.Resampling.BOX)
    elif image.width * image.height > _PIXELS:
        raise ArgumentError(
            f"{path} has {image.height}×{image.width} pixels: pass --in 12x12, say, to shrink it"
        )
    planes = [
        [list(plane.crop((0, row, plane.width, row + 1)).tobytes()) for row in range(plane.height)]
        for plane in image.split()
    ]
    return planes if channels == 3 else planes[0]
