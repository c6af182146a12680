"""Cloud-optimised GeoTIFF: tiled, with overviews, and with the image's reference system."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from convsmith.errors import ArgumentError, MissingExtra
from convsmith.text import times
from convsmith.tiling.placement import Placement
from convsmith.tiling.stores import tiff
from convsmith.tiling.stores.form import Form
from convsmith.tiling.stores.room import placed

__all__ = ["check", "create", "load", "reopen", "write"]

_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def _rasterio() -> Any:
    try:
        import rasterio
        import rasterio.shutil
    except ImportError:
        raise MissingExtra("writing a COG", extra="geo", package="rasterio") from None
    return rasterio


def check(path: str, form: Form) -> None:
    """Refuse what a GeoTIFF cannot hold.

    Raises:
        ArgumentError: naming what it holds.
    """
    if form.layout not in ("YX", "YXC"):
        raise ArgumentError(
            f"{path} holds one image with two axes, and channels: not a result of shape "
            f"{times(form.shape)} ({form.layout})"
        )
    if form.dtype not in _TYPES:
        raise ArgumentError(f"{path} holds {', '.join(_TYPES)}, not {form.dtype}")
    _rasterio()


def create(path: str, form: Form, placement: Placement | None) -> Any:
    """A plain TIFF for the pixels, as a memory map."""
    tifffile = tiff.packages("writing")[0]
    placed(path, form.fill, lambda draft: tifffile.memmap(
        draft, shape=form.shape, dtype=form.dtype, bigtiff=True, metadata=None,
        photometric="minisblack", planarconfig="contig" if "C" in form.layout else None,
    ))  # fmt: skip
    return tiff.reopen(path)


reopen = tiff.reopen


def write(array: Any, file: Any, form: Form, placement: Placement | None) -> None:
    """Write the COG from the plain TIFF that holds the pixels."""
    rasterio, pixels = _rasterio(), array.filename
    with warnings.catch_warnings():
        # The pixels lie nowhere yet, and those of a plain image never will.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(pixels, "r+") as plain:
            _place(rasterio, plain, placement)
    # An average of two classes is a third one.
    smooth = np.dtype(form.dtype).kind == "f"
    rasterio.shutil.copy(
        pixels, file.name, driver="COG", compress="deflate", bigtiff="if_safer",
        predictor="yes", overview_resampling="average" if smooth else "nearest",
    )  # fmt: skip


def load(path: str) -> Any:
    """The pixels of a COG, read by windows."""
    return tiff.load(path)[0]


def _place(rasterio: Any, file: Any, placement: Placement | None) -> None:
    """Give a file the reference system of the image, and its transform as it lies on it."""
    if placement is None or not placement.path or not os.path.isfile(placement.path):
        return
    try:
        image = rasterio.open(placement.path)
    except rasterio.errors.RasterioIOError:
        return  # an array in a format that has no reference system
    with image:
        if image.crs is None and image.transform.is_identity:
            return
        level = [full / n for full, n in zip(image.shape, placement.size, strict=True)]
        # A transform is that of corners, half a pixel before the centres, with columns first.
        moves = np.eye(3)
        for axis, (by, step, offset) in enumerate(
            zip(level, placement.step, placement.offset, strict=True)
        ):
            moves[1 - axis, 1 - axis] = by * step
            moves[1 - axis, 2] = by * (offset + 0.5 - step / 2)
        world = np.array(image.transform).reshape(3, 3) @ moves
        file.crs, file.transform = image.crs, rasterio.Affine(*world.ravel()[:6])
