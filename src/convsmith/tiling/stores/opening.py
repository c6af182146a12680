"""Opening sources: arrays as they are, files by their ending; sizes are checked before decoding."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convsmith.errors import ArgumentError, ConvsmithError, DataError, MissingExtra, first_line
from convsmith.report.unpacking import FORMATS, check_pixels
from convsmith.tiling.stores import nifti, tiff
from convsmith.tiling.stores.codecs import check_codecs, check_files
from convsmith.tiling.stores.layout import guess_layout, parse_layout
from convsmith.tiling.stores.source import Source, check_level

__all__ = ["READERS", "open_mask", "open_source"]

_MASK_BYTES = 1 << 32
"""A mask may be coarse, so one that takes more than 4 GB is a mistake."""

_MAGIC = b"\x93NUMPY"

Opened = tuple[Any, str, tuple[int, ...]]
"""An array, its layout ('' to guess), and what is decoded at once."""


def open_source(
    source: Any, dims: int, channels: int, memory: int, layout: str | None = None, level: int = 0
) -> Source:
    """Open an image for reading part by part.

    Args:
        source: an array (numpy, memory map, Zarr), or a path: `.npy`, `.zarr` (and arrays in it),
            `.tif`, `.nii`, `.nii.gz` or an ordinary image.
        dims: spatial axes that the network takes.
        channels: that the network takes.
        memory: bytes that may be decoded at once.
        layout: letters for its dimensions, such as `YXC`; guessed unless given.
        level: of a pyramid.

    Raises:
        ArgumentError: for what the network does not take.
        DataError: for a file that is not there or cannot be read.
        MissingExtra: where the package that reads it is not installed.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, (str, os.PathLike)):
        check_level("the array", level, 1)
        return _from_array(source, dims, channels, layout)
    path = os.fspath(source)
    name = os.path.basename(path.rstrip("/")) or path
    try:
        array, known, block = _open(path, level, memory)
    except ConvsmithError:
        raise
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # each format has errors of its own
        raise DataError(f"{path} cannot be opened: {first_line(error)}") from error
    letters = layout or known
    if not letters:
        letters = guess_layout(array.shape, dims, channels, name)
    letters = parse_layout(letters, array.shape, dims, name)
    opener = (os.path.abspath(path), {"layout": letters, "level": level, "dims": dims,
              "channels": channels, "memory": memory}) if "://" not in path else (
              path, {"layout": letters, "level": level, "dims": dims,
                     "channels": channels, "memory": memory})  # fmt: skip
    opened = Source(array, letters, name, opener, block, tags=_tags(path))
    opened.require(channels, dims)
    return _affordable(opened, path, memory)


def open_mask(path: str) -> Any:
    """The array of a mask's file, as it is stored; pictures with several channels are refused.

    Raises:
        DataError: for a file that is not there or cannot be read.
    """
    try:
        array, _, _ = _open(path, 0, _MASK_BYTES)
    except ConvsmithError:
        raise
    except Exception as error:  # each format has errors of its own
        raise DataError(f"{path} cannot be opened: {first_line(error)}") from error
    kind = getattr(array.dtype, "kind", "")
    if kind not in "buif":
        raise DataError(
            f"{path} holds {array.dtype}, not numbers: a mask is 0 where nothing is asked"
        )
    size = int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize
    if size > _MASK_BYTES:
        raise DataError(f"{path} says it holds {size / 1e9:.1f} GB: a mask may be coarser")
    return array


def _from_array(source: Any, dims: int, channels: int, layout: str | None) -> Source:
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise ArgumentError(f"a source is an array or a path, not {type(source).__name__}")
    if isinstance(source, Tensor):
        if source.layout is not torch.strided or source.is_meta:
            raise ArgumentError("a tensor must have values of its own: pass x.to_dense()")
        wide = source.float() if source.dtype is torch.bfloat16 else source
        source = wide.detach().cpu().resolve_neg().numpy()
    if isinstance(source, np.ma.MaskedArray):
        raise ArgumentError("a masked array has no values there: pass x.filled(…), and where=")
    what = "the array"
    letters = layout or guess_layout(source.shape, dims, channels, what)
    letters = parse_layout(letters, source.shape, dims, what)
    # A dask array lists the lengths of all its chunks.
    chunks = getattr(source, "chunks", None) or ()
    block = tuple(max(n) if isinstance(n, tuple) else n for n in chunks)
    opened = Source(source, letters, what, None, block)
    opened.require(channels, dims)
    return opened


def _affordable(source: Source, path: str, memory: int) -> Source:
    """Decode a small file once; refuse one whose blocks are too large to decode for each tile."""
    if not source.block:
        return source
    total = int(np.prod(source.array.shape)) * source.dtype.itemsize
    block = int(np.prod(source.block)) * source.dtype.itemsize
    if total * 4 <= memory:  # no part is then decoded twice
        try:
            source.array, source.decoded = np.asarray(source.array[...]), True
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # each decoder has errors of its own
            raise DataError(f"{source.name} cannot be read: {first_line(error)}") from error
        return source
    if block * 4 <= memory:
        return source
    retile = "store it in smaller chunks first"
    if READERS.get(Path(path).suffix.lower()) is _tiff:
        options = "-co TILED=YES -co BIGTIFF=YES"
        retile = f"retile it first, such as `gdal_translate {options} {path} tiled.tif`"
    raise DataError(
        f"{source.name} is stored in blocks of {block / 1e6:.0f} MB, each decoded whole for any "
        f"part of it: {retile}, or pass memory= of {5 * block / 1e9:.1f}GB"
    )


def _tags(path: str) -> dict[str, Any]:
    """What changes when a file is changed."""
    if "://" in path or not os.path.exists(path):
        return {}
    status = os.stat(path)
    if os.path.isdir(path):
        return {"files": _files(path)}
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _files(folder: str) -> str:
    """A hash of the names, sizes and times of all files in a folder."""
    digest = blake2b(digest_size=16)
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(root, name)
            status = os.stat(path)
            known = os.path.relpath(path, folder), status.st_size, status.st_mtime_ns
            digest.update(repr(known).encode())
    return digest.hexdigest()


def _open(path: str, level: int, memory: int) -> Opened:
    if "://" in path or ".zarr" in path.lower():
        return _zarr(path, level, memory)
    if not os.path.exists(path):
        raise DataError(f"there is no file {path!r}")
    if os.path.isdir(path):
        return _zarr(path, level, memory)
    if not os.path.isfile(path):  # a pipe would keep its reader waiting
        raise DataError(f"{path} is not a file")
    suffixes = "".join(Path(path).suffixes[-2:]).lower()
    for ending, reader in READERS.items():
        if suffixes.endswith(ending):
            return reader(path, level, memory)
    raise DataError(f"{path}: expected a file that ends in {', '.join(READERS)} or .zarr")


def _zarr(path: str, level: int, memory: int) -> Opened:
    try:
        import zarr
    except ImportError:
        raise MissingExtra("reading Zarr", extra="tile", package="zarr") from None
    if "://" not in path and not os.path.exists(path):
        raise DataError(f"there is no store {path!r}")
    if "://" not in path:
        check_files(path)
    node = zarr.open(path, mode="r")
    if hasattr(node, "shape"):
        check_level(path, level, 1)
    else:
        node = _pyramid_level(node, level, path)
    check_codecs(node, path)
    # The inner chunks of a shard are read one by one.
    return node, "", tuple(node.chunks)


def _pyramid_level(group: Any, level: int, path: str) -> Any:
    """A level of an OME-Zarr pyramid."""
    attributes = dict(group.attrs)
    described = attributes.get("ome", attributes).get("multiscales")
    if not described:
        arrays = ", ".join(sorted(group.array_keys())) or "none"
        raise DataError(f"{path} is a Zarr group, not an array: name one of its arrays ({arrays})")
    levels = described[0]["datasets"]
    check_level(path, level, len(levels))
    inner = str(levels[level]["path"])
    if inner.startswith("/") or ".." in inner.split("/"):
        raise DataError(f"{path} names a level outside itself: {inner!r}")
    return group[inner]


def _npy(path: str, level: int, memory: int) -> Opened:
    check_level(path, level, 1)
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:  # NumPy would ask whether it may unpickle it
            raise DataError(f"{path} cannot be opened: it does not begin as a .npy does")
    return np.load(path, mmap_mode="r", allow_pickle=False), "", ()


def _tiff(path: str, level: int, memory: int) -> Opened:
    return tiff.load(path, level)


def _nifti(path: str, level: int, memory: int) -> Opened:
    check_level(path, level, 1)
    data = nifti.load(path).dataobj
    letters = "ZYX" if len(data.shape) == 3 else ""
    if path.lower().endswith(".gz"):  # no part of it can be read by itself
        _check_declared(path, int(np.prod(data.shape)) * 8, memory)
        return np.asarray(data, dtype=np.float32), letters, ()
    return data, letters, ()


def _picture(path: str, level: int, memory: int) -> Opened:
    check_level(path, level, 1)
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading images", extra="data", package="Pillow") from None
    with Image.open(path, formats=FORMATS) as picture:
        check_pixels(path, picture)
        width, height = picture.size
        _check_declared(path, width * height * max(1, len(picture.getbands())), memory)
        if picture.mode not in ("L", "RGB", "I;16", "F"):
            picture = picture.convert("RGB")  # type: ignore[assignment]
        array = np.asarray(picture)
    return array, "YX" if array.ndim == 2 else "YXC", ()


def _check_declared(path: str, declared: int, memory: int) -> None:
    if declared > memory:
        raise DataError(
            f"{path} says it holds {declared / 1e9:.1f} GB, and its format is decoded whole, but "
            f"memory is {memory / 1e9:.1f} GB: convert it to Zarr or a tiled TIFF, or raise memory="
        )


READERS: dict[str, Callable[[str, int, int], Opened]] = {
    ".npy": _npy,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".svs": _tiff,
    ".ndpi": _tiff,
    ".nii": _nifti,
    ".nii.gz": _nifti,
    ".png": _picture,
    ".jpg": _picture,
    ".jpeg": _picture,
    ".webp": _picture,
    ".bmp": _picture,
}
"""How a file is opened, by its ending."""
