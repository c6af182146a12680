"""Formats of targets: how a file of each ending is created, opened again, and finished."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convsmith.errors import ArgumentError, MissingExtra
from convsmith.text import times
from convsmith.tiling.placement import Placement
from convsmith.tiling.stores import geotiff, nifti, tiff
from convsmith.tiling.stores.form import Form
from convsmith.tiling.stores.room import placed

__all__ = ["FORMATS", "Format", "form_of", "format_of", "is_draft", "open_zarr"]


def _fits_all(path: str, form: Form) -> None:
    """Refuse nothing."""


def _left_nothing(path: str) -> None:
    """There is nothing to clear away."""


@dataclass(frozen=True)
class Whole:
    """How a file is written that cannot be written in parts, once all of them are there.

    Attributes:
        pixels: the ending of the file beside it that holds the parts until then.
        write: the file, to one that is open (and has a name), from the array of the parts.
        load: it is read again.
    """

    pixels: str
    write: Callable[[Any, Any, Form, Placement | None], None]
    load: Callable[[str], Any]


@dataclass(frozen=True)
class Format:
    """How targets of one ending are written.

    Attributes:
        create: makes the array, filled.
        reopen: opens it to write further parts.
        whole: for a file that is written whole; `create` and `reopen` are then of its pixels.
        check: refuses what the format cannot hold, before anything is computed.
        channels_last: whether it holds channels as its last dimension, whatever the image does.
        placed: whether it says where its image is in the world.
        clear: removes what writers left in it that were stopped, once nobody writes.
    """

    create: Callable[[str, Form, Placement | None], Any]
    reopen: Callable[[str], Any]
    whole: Whole | None = None
    check: Callable[[str, Form], None] = _fits_all
    channels_last: bool = False
    placed: bool = False
    clear: Callable[[str], None] = _left_nothing


def form_of(path: str) -> str:
    """The ending that decides how a target is written.

    Raises:
        ArgumentError: for an ending that nothing writes.
    """
    if "://" in path or ".zarr" in path.lower():
        return ".zarr"
    name = Path(path).name.lower()
    endings = [ending for ending in FORMATS if name.endswith(ending)]
    if not endings:
        known = ", ".join(FORMATS)
        raise ArgumentError(f"cannot write {path!r}: expected a name that ends in {known}")
    return max(endings, key=len)


def format_of(path: str) -> Format:
    """The format of a path, by its ending.

    Raises:
        ArgumentError: for an ending that nothing writes.
    """
    return FORMATS[form_of(path)]


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise MissingExtra("writing Zarr", extra="tile", package="zarr") from None
    return zarr


def open_zarr(path: str, mode: str = "r+") -> Any:
    """A Zarr array that is there."""
    return _zarr().open_array(path, mode=mode)


def _create_zarr(path: str, form: Form, placement: Placement | None) -> Any:
    return _zarr().create_array(
        store=path,
        shape=form.shape,
        dtype=form.dtype,
        chunks=_inner(form.unit),
        shards=form.unit,
        fill_value=form.fill,
        dimension_names=[letter.lower() for letter in form.layout],
        overwrite=True,
    )


def _clear_zarr(path: str) -> None:
    if "://" not in path:
        for draft in filter(is_draft, Path(path).rglob("*.partial")):
            draft.unlink(missing_ok=True)


def is_draft(path: Path) -> bool:
    """Whether Zarr was writing this file, and was stopped before it could rename it."""
    return re.search(r"\.[0-9a-f]{32}\.partial$", path.name) is not None


def _inner(unit: Sequence[int]) -> tuple[int, ...]:
    """Chunks within a shard: at most 256 along an axis, if that divides it in a few pieces."""
    chunks = []
    for length in unit:
        least = -(-length // 256)
        pieces = next((n for n in range(least, 4 * least + 1) if length % n == 0), 1)
        chunks.append(length // pieces)
    return tuple(chunks)


def _create_npy(path: str, form: Form, placement: Placement | None) -> Any:
    placed(path, form.fill, lambda draft: np.lib.format.open_memmap(
        draft, "w+", dtype=np.dtype(form.dtype), shape=form.shape
    ))  # fmt: skip
    return _reopen_npy(path)


def _reopen_npy(path: str) -> Any:
    return np.load(path, mmap_mode="r+", allow_pickle=False)


def _write_picture(array: Any, file: Any, form: Form, placement: Placement | None) -> None:
    from PIL import Image

    Image.fromarray(np.asarray(array)).save(file, "png")


def _write_jpeg(array: Any, file: Any, form: Form, placement: Placement | None) -> None:
    from PIL import Image

    Image.fromarray(np.asarray(array)).save(file, "jpeg")


def _load_picture(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return np.array(picture)


def _check_picture(path: str, form: Form) -> None:
    if form.dtype != "uint8" or len(form.shape) not in (2, 3):
        raise ArgumentError(f"{path} holds uint8, not {form.dtype}: reduce to uint8")
    if len(form.shape) == 3 and form.shape[-1] not in (3, 4):
        raise ArgumentError(
            f"{path} holds 1, 3 or 4 channels, not shape {times(form.shape)}: write .tif or .zarr"
        )


_NPY = Format(_create_npy, _reopen_npy)
_TIFF = Format(tiff.create, tiff.reopen)
_COG = Format(
    geotiff.create, geotiff.reopen, Whole(".pixels.tif", geotiff.write, geotiff.load),
    geotiff.check, channels_last=True, placed=True,
)  # fmt: skip
_PICTURE, _JPEG = (
    Format(
        _create_npy, _reopen_npy, Whole(".pixels.npy", write, _load_picture), _check_picture,
        channels_last=True,
    )
    for write in (_write_picture, _write_jpeg)
)  # fmt: skip

FORMATS: dict[str, Format] = {
    ".zarr": Format(_create_zarr, open_zarr, clear=_clear_zarr),
    ".npy": _NPY,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".cog.tif": _COG,
    ".cog.tiff": _COG,
    ".nii": Format(nifti.create, nifti.reopen, None, nifti.check, channels_last=True, placed=True),
    ".nii.gz": Format(
        _create_npy, _reopen_npy, Whole(".pixels.npy", nifti.compress, nifti.values), nifti.check,
        channels_last=True, placed=True,
    ),
    ".png": _PICTURE,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}  # fmt: skip
"""How a target is written, by its ending; of two that fit, the longer one counts."""
