"""Targets: arrays that are written part by part, each part once and by one writer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from convsmith.errors import ArgumentError, ConvsmithError, DataError, first_line
from convsmith.report.saving import drafted
from convsmith.tiling.placement import Placement
from convsmith.tiling.stores.form import Form, Target, is_full, unwritten
from convsmith.tiling.stores.formats import format_of, is_draft, open_zarr
from convsmith.tiling.stores.room import check_room

__all__ = [
    "Form", "Target", "check_form", "check_place", "create", "existing_unit", "exists", "finish",
    "remove", "reopen",
]  # fmt: skip


def check_form(path: str, form: Form) -> None:
    """Refuse what a target cannot hold, before anything is computed.

    Raises:
        ArgumentError: for an ending that nothing writes, and for values that its format lacks.
    """
    if "\0" in path:
        raise ArgumentError(f"{path!r} is not a path")
    format_of(path).check(path, form)


def exists(path: str) -> bool:
    """Whether there is something at a path.

    Raises:
        DataError: for a URL that cannot be asked.
    """
    if "://" not in path:
        # A link counts, even one to nowhere.
        return any(map(os.path.lexists, (path, _parts(path))))
    try:
        open_zarr(path, "r")
    except (FileNotFoundError, KeyError):
        return False
    except ConvsmithError:
        raise
    except Exception as error:  # each kind of store has errors of its own
        raise DataError(f"{path} cannot be written: {first_line(error)}") from error
    return True


def existing_unit(array: Any) -> tuple[int, ...]:
    """What one writer must write at once of an array that a user has opened."""
    unit = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return tuple(unit) if unit else (1,) * len(array.shape)


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


def create(path: str, form: Form, placement: Placement | None = None) -> Target:
    """Create a target that is filled with `fill`. Raises as `check_place`."""
    check_place(path, form)
    try:
        return Target(path, form, format_of(path).create(_parts(path), form, placement))
    except OSError as error:
        if not is_full(error):
            raise
        raise unwritten(path, error) from error


def reopen(path: str, form: Form) -> Target:
    """Open a target that is there, to write further parts; a finished picture only to read.

    Raises:
        DataError: where it is missing or damaged.
    """
    kind = format_of(path)
    is_finished = (
        kind.whole is not None and not os.path.exists(_parts(path)) and os.path.exists(path)
    )
    try:
        if kind.whole is not None and is_finished:
            return Target(path, form, kind.whole.load(path))
        return Target(path, form, kind.reopen(_parts(path)))
    except ConvsmithError:
        raise
    except Exception as error:  # each format has errors of its own
        raise DataError(
            f"{path} cannot be opened to go on with it ({first_line(error)}): pass force to begin "
            "anew"
        ) from error


def _parts(path: str) -> str:
    """Where parts are written: for a file that is written whole, beside it."""
    whole = format_of(path).whole
    return path if whole is None else path + whole.pixels


def finish(target: Target, placement: Placement | None = None) -> None:
    """Turn what is written into the file that was asked for: it is there whole, or not at all.

    Raises:
        DataError: where it cannot be written; the parts stay.
    """
    target.flush()
    path, kind = target.path, format_of(target.path)
    whole = kind.whole
    kind.clear(path)
    if whole is None or not os.path.exists(_parts(path)):
        return
    try:
        with drafted(Path(path)) as file:
            whole.write(target.array, file, target.form, placement)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {first_line(error)}; its pixels are in {_parts(path)}, "
            "and the same again with resume goes on from there"
        ) from error
    target.array = whole.load(path)
    os.remove(_parts(path))


def remove(path: str) -> None:
    """Remove a local target, or nothing; one behind a URL is overwritten when it is created.

    Of a link the link is removed, never what it points to.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        if not _is_array(path):
            raise ArgumentError(f"{path} is a folder that is not a Zarr array: it is not replaced")
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def _is_array(path: str) -> bool:
    """Whether a folder is one Zarr array, perhaps just begun, and not a group or anything else."""
    if all(map(is_draft, Path(path).iterdir())):
        return True
    if os.path.isfile(os.path.join(path, ".zarray")):
        return True
    try:
        described = json.loads(Path(path, "zarr.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(described, dict) and described.get("node_type") == "array"
