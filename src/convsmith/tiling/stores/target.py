"""Targets: arrays that are written part by part, each part once and by one writer."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.errors import ArgumentError, DataError, MissingExtra, first_line
from convsmith.report.saving import drafted
from convsmith.text import times
from convsmith.tiling.spans import Spans, slices

__all__ = ["WRITERS", "Form", "Target", "check_form", "existing_unit", "form_of"]


@dataclass(frozen=True)
class Form:
    """An array to be written.

    Attributes:
        shape: in the order of `layout`.
        dtype: its name.
        layout: letters for its dimensions.
        unit: the shape of what one writer writes at once.
        fill: what stands where nothing is written.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str
    unit: tuple[int, ...]
    fill: float = 0

    @property
    def bytes(self) -> int:
        """Its size without compression."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(eq=False)
class Target:
    """An array that is open for writing.

    Attributes:
        path: where it is; '' in memory.
        form: what it is.
        array: takes slices.
    """

    path: str
    form: Form
    array: Any = field(repr=False)

    def write(self, spans: Spans, values: NDArray[Any]) -> None:
        """Write one part.

        Raises:
            DataError: where the disk is full, or the store refuses.
        """
        try:
            self.array[slices(spans)] = values
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(
                    f"no room left for {self.path}: free some and run the same again with resume"
                ) from error
            raise DataError(f"{self.path} cannot be written: {first_line(error)}") from error

    def read(self, spans: Spans) -> NDArray[Any]:
        """Read a part back."""
        return np.asarray(self.array[slices(spans)])

    def flush(self) -> None:
        """Hand what is written to the system."""
        if hasattr(self.array, "flush"):
            self.array.flush()


def form_of(path: str) -> str:
    """The ending that decides how a target is written.

    Raises:
        ArgumentError: for an ending that nothing writes.
    """
    if "://" in path or ".zarr" in path.lower():
        return ".zarr"
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        known = ", ".join(WRITERS)
        raise ArgumentError(f"cannot write {path!r}: expected a name that ends in {known}")
    return suffix


def check_form(path: str, form: Form) -> None:
    """Refuse what a target cannot hold, before anything is computed.

    Raises:
        ArgumentError: for an ending that nothing writes, and for a picture of other values.
    """
    if form_of(path) not in _PICTURES:
        return
    if form.dtype != "uint8" or len(form.shape) not in (2, 3):
        raise ArgumentError(f"{path} holds uint8, not {form.dtype}: reduce to uint8")
    if len(form.shape) == 3 and form.shape[-1] not in (3, 4):
        raise ArgumentError(
            f"{path} holds 1, 3 or 4 channels, not shape {times(form.shape)}: write .tif or .zarr"
        )


def exists(path: str) -> bool:
    """Whether there is something at a path."""
    if "://" not in path:
        # A link counts, even one to nowhere.
        places = (path, unfinished(path)) if form_of(path) in _PICTURES else (path,)
        return any(os.path.lexists(place) for place in places)
    try:
        _open_zarr(path, "r")
    except (FileNotFoundError, KeyError):
        return False
    return True


def existing_unit(array: Any) -> tuple[int, ...]:
    """What one writer must write at once of an array that a user has opened."""
    unit = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return tuple(unit) if unit else (1,) * len(array.shape)


def check_room(path: str, size: int) -> None:
    """Refuse what does not fit the disk.

    Raises:
        DataError: naming both sizes.
    """
    if "://" in path:
        return
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{path} may take {size / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free: "
            "choose another disk, or reduce= to a smaller type"
        )


def check_place(path: str, form: Form) -> None:
    """Refuse a target whose folder is missing or too full, before anything is written.

    Raises:
        ArgumentError: naming the folder.
        DataError: as `check_room`.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if "://" not in path and not os.path.isdir(parent):
        raise ArgumentError(f"cannot write {path!r}: no folder {os.path.dirname(path)!r}")
    check_room(path, form.bytes)


def create(path: str, form: Form) -> Target:
    """Create a target that is filled with `fill`. Raises as `check_place`."""
    check_place(path, form)
    return Target(path, form, WRITERS[form_of(path)](path, form, True))


def reopen(path: str, form: Form) -> Target:
    """Open a target that is there, to write further parts."""
    return Target(path, form, WRITERS[form_of(path)](path, form, False))


def remove(path: str) -> None:
    """Remove a local target, or nothing; one behind a URL is overwritten when it is created.

    Of a link the link is removed, never what it points to.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        if not _is_array(path) and os.listdir(path):
            raise ArgumentError(f"{path} is a folder that is not a Zarr array: it is not replaced")
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def _is_array(path: str) -> bool:
    """Whether a folder is one Zarr array, and not a group of them or anything else."""
    if os.path.isfile(os.path.join(path, ".zarray")):
        return True
    try:
        described = json.loads(Path(path, "zarr.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(described, dict) and described.get("node_type") == "array"


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise MissingExtra("writing Zarr", extra="tile", package="zarr") from None
    return zarr


def _open_zarr(path: str, mode: str) -> Any:
    return _zarr().open_array(path, mode=mode)


def _write_zarr(path: str, form: Form, new: bool) -> Any:
    if not new:
        return _open_zarr(path, "r+")
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


def _inner(unit: Sequence[int]) -> tuple[int, ...]:
    """Chunks within a shard: at most 256 along an axis, if that divides it in a few pieces."""
    chunks = []
    for length in unit:
        least = -(-length // 256)
        pieces = next((n for n in range(least, 4 * least + 1) if length % n == 0), 1)
        chunks.append(length // pieces)
    return tuple(chunks)


def _place(path: str, form: Form, make: Callable[[str], Any]) -> None:
    """Make a file of its full size under a name of its own, and move it where it belongs.

    Its blocks are reserved: a mapped file that meets a full disk would end the process.
    """
    draft = os.path.join(os.path.dirname(path), f".{token_hex(8)}.part")
    try:
        array = make(draft)
        with open(draft, "r+b") as file:
            _reserve(file.fileno(), path)
        if form.fill:
            array[...] = form.fill
        array.flush()
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.remove(draft)
        raise


def _reserve(handle: int, path: str) -> None:
    """Ask for the blocks of a file, where the system can.

    Raises:
        DataError: where they are not to be had.
    """
    try:
        os.posix_fallocate(handle, 0, os.fstat(handle).st_size)
    except AttributeError:  # macOS, Windows
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"no room left for {path}: free some, or choose another disk") from None


def _write_npy(path: str, form: Form, new: bool) -> Any:
    if new:
        _place(path, form, lambda draft: np.lib.format.open_memmap(
            draft, "w+", dtype=np.dtype(form.dtype), shape=form.shape
        ))  # fmt: skip
    return np.load(path, mmap_mode="r+", allow_pickle=False)


def _write_tiff(path: str, form: Form, new: bool) -> Any:
    try:
        import tifffile
    except ImportError:
        raise MissingExtra("writing TIFF", extra="tile", package="tifffile") from None
    if new:
        axes = form.layout.replace("N", "Q")
        _place(path, form, lambda draft: tifffile.memmap(
            draft,
            shape=form.shape,
            dtype=form.dtype,
            bigtiff=form.bytes > 2**31,
            photometric="rgb" if axes.endswith("C") and form.shape[-1] == 3 else "minisblack",
            metadata={"axes": axes.replace("C", "S") if axes.endswith("C") else axes},
        ))  # fmt: skip
    return tifffile.memmap(path, mode="r+")


def _write_picture(path: str, form: Form, new: bool) -> Any:
    pixels = unfinished(path)
    if new:
        remove(pixels)
    elif not os.path.exists(pixels):  # the picture is finished
        from PIL import Image

        with Image.open(path) as picture:
            return np.array(picture)
    return _write_npy(pixels, form, new)


def unfinished(path: str) -> str:
    """Where the pixels of a picture are until all are there: pictures are written whole."""
    return f"{path}.pixels.npy"


def finish(target: Target) -> None:
    """Turn what is written into the file that was asked for.

    Raises:
        DataError: where the disk is full; the pixels stay.
    """
    target.flush()
    pixels = unfinished(target.path)
    if form_of(target.path) not in _PICTURES or not os.path.exists(pixels):
        return
    from PIL import Image

    kind = "png" if target.path.lower().endswith("png") else "jpeg"
    try:
        with drafted(Path(target.path)) as file:
            Image.fromarray(np.asarray(target.array)).save(file, kind)
    except OSError as error:
        raise DataError(
            f"{target.path} cannot be written: {first_line(error)}; its pixels are in {pixels}, "
            "and the same again with resume goes on from there"
        ) from error
    target.array = np.asarray(target.array)
    remove(pixels)


_PICTURES = (".png", ".jpg", ".jpeg")

WRITERS: dict[str, Callable[[str, Form, bool], Any]] = {
    ".zarr": _write_zarr,
    ".npy": _write_npy,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    **dict.fromkeys(_PICTURES, _write_picture),
}
"""How a target is written, by its ending."""
