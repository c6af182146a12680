"""TIFF, BigTIFF and OME-TIFF, read by windows and written as memory maps."""

from __future__ import annotations

import os
from typing import Any

from convsmith.errors import DataError, MissingExtra
from convsmith.tiling.placement import Placement
from convsmith.tiling.stores.form import Form
from convsmith.tiling.stores.room import placed
from convsmith.tiling.stores.source import check_level

__all__ = ["create", "load", "packages", "reopen"]


def packages(doing: str) -> tuple[Any, Any]:
    """tifffile, and zarr, through which compressed files are read.

    Raises:
        MissingExtra: unless both are installed.
    """
    try:
        import tifffile
        import zarr
    except ImportError:
        names = "tifffile and zarr"
        raise MissingExtra(f"{doing} TIFF", extra="tile", package=names) from None
    return tifffile, zarr


def load(path: str, level: int = 0) -> tuple[Any, str, tuple[int, ...]]:
    """The array of a level, its layout ('' to guess), and what is decoded at once.

    Raises:
        ArgumentError: for a level that is not there.
        DataError: for a file that is truncated.
    """
    tifffile, zarr = packages("reading")
    # The file stays open for as long as the array is used.
    file = tifffile.TiffFile(path)
    series = file.series[0]
    check_level(path, level, len(series.levels))
    chosen = series.levels[level]
    if _truncated(file, os.path.getsize(path)):
        raise DataError(f"{path} is truncated: it names data beyond its end")
    axes = chosen.axes.replace("S", "C").replace("I", "N").replace("T", "N").replace("Q", "N")
    letters = axes if len(set(axes)) == len(axes) and not set(axes) - set("NCZYX") else ""
    if chosen.dataoffset is not None and chosen.keyframe.is_memmappable and level == 0:
        return tifffile.memmap(path, mode="r", series=0), letters, ()
    array = zarr.open(series.aszarr(level=level), mode="r")
    return array, letters, tuple(array.chunks)


def _truncated(file: Any, size: int) -> bool:
    """Whether some page's data lies beyond the end of the file."""
    for page in file.series[0].pages:
        if page is None:
            continue
        ends = (
            offset + count
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
        )
        if max(ends, default=0) > size:
            return True
    return False


def create(path: str, form: Form, placement: Placement | None) -> Any:
    """A plain file as a memory map, filled."""
    tifffile, axes = packages("writing")[0], form.layout.replace("N", "Q")
    placed(path, form.fill, lambda draft: tifffile.memmap(
        draft,
        shape=form.shape,
        dtype=form.dtype,
        bigtiff=form.bytes > 2**31,
        photometric="rgb" if axes.endswith("C") and form.shape[-1] == 3 else "minisblack",
        metadata={"axes": axes.replace("C", "S") if axes.endswith("C") else axes},
    ))  # fmt: skip
    return reopen(path)


def reopen(path: str) -> Any:
    """The same, to write further parts."""
    return packages("writing")[0].memmap(path, mode="r+")
