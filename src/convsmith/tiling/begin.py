"""How a run begins: with a new target, with one to go on with, or as one part of several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import torch

from convsmith.errors import ArgumentError, DataError
from convsmith.tiling.identity import identify
from convsmith.tiling.manifest import Manifest, Record, Unit
from convsmith.tiling.request import Request
from convsmith.tiling.stores.formats import format_of
from convsmith.tiling.stores.target import (
    Target,
    check_form,
    check_place,
    create,
    exists,
    remove,
    reopen,
)  # fmt: skip

__all__ = ["begin", "check_part", "share"]

_WAIT = 60.0
"""Seconds that one part waits for another that has begun to create the target."""


_MOST_PARTS = 1_000_000_000
"""Parts of a run, so that units can be counted by them."""


def check_part(part: Any) -> None:
    """Raise an `ArgumentError` for what is not one of several parts."""
    is_pair = isinstance(part, (tuple, list)) and len(part) == 2 and {*map(type, part)} == {int}
    if not is_pair or not 0 <= part[0] < part[1] <= _MOST_PARTS:
        raise ArgumentError(
            f"part must be (i, n) with 0 ≤ i < n, and n at most {_MOST_PARTS:,}: not {part!r}"
        )


def share(request: Request, part: tuple[int, int] | None) -> Iterator[Unit]:
    """The units of one part of a job array, or all."""
    index, of = part or (0, 1)
    return islice(request.geometry.units(), index, None, of)


def begin(
    request: Request,
    target: Any,
    resume: bool,
    force: bool,
    part: tuple[int, int] | None,
    locks: ExitStack,
) -> tuple[Manifest | None, Target, dict[Unit, Record]]:
    """The manifest, the target, and the units that are done; locks are held until `locks` ends."""
    if not isinstance(target, (str, Path)):
        return None, _in_memory(request, target, resume, part), {}
    path = str(target)
    check_form(path, request.form)
    _check_apart(request, path)
    if part is not None and force:
        raise ArgumentError(
            f"force would remove what other parts have written: remove {path} and "
            f"{_folder(path)} before the first part starts"
        )
    manifest = Manifest(_folder(path))
    identity = identify(request, path)
    if part is not None:
        _join(manifest, path, request, identity)
        locks.enter_context(manifest.alone(part))
        done = manifest.done()
        mine = {unit: done[unit] for unit in share(request, part) if unit in done}
        if mine and not resume:
            raise ArgumentError(f"part {part[0]} of {path} has begun: pass resume to go on")
        return manifest, reopen(path, request.form), mine
    _refuse_what_is_there(manifest, path, identity, resume, force)
    if not exists(path):
        check_place(path, request.form)
    manifest.make()
    locks.enter_context(manifest.alone(None))
    # Once more: until the lock was held, another run may have begun.
    _refuse_what_is_there(manifest, path, identity, resume, force)
    if manifest.exists and resume and not force:
        manifest.check(identity)
        known = set(request.geometry.units())
        done = {unit: record for unit, record in manifest.done().items() if unit in known}
        return manifest, reopen(path, request.form), done
    return manifest, manifest.begin(identity, lambda: _anew(path, request)), {}


def _refuse_what_is_there(
    manifest: Manifest, path: str, identity: dict[str, Any], resume: bool, force: bool
) -> None:
    if force or not (manifest.exists or exists(path)):
        return
    if not resume:
        raise ArgumentError(f"{path} exists: pass resume to go on with it, or force to replace it")
    if not manifest.exists and not manifest.starting(identity):
        raise ArgumentError(
            f"{path} exists, but no run was begun there ({manifest.folder} is missing): pass "
            "force to replace it"
        )


def _anew(path: str, request: Request) -> Target:
    """A new target, which says where its image lies if its format can."""
    remove(path)
    return create(path, request.form, request.placement if format_of(path).placed else None)


def _join(manifest: Manifest, path: str, request: Request, identity: dict[str, Any]) -> None:
    """Begin a run of several parts, or join the one that another part has begun."""
    lock = manifest.folder.with_name(manifest.folder.name + ".lock")
    if not manifest.exists:
        try:
            lock.mkdir(parents=True)
        except FileExistsError:
            _await(manifest, lock)
        else:
            try:
                if exists(path) and not manifest.starting(identity):
                    raise ArgumentError(f"{path} exists: remove it before the first part starts")
                if not exists(path):
                    check_place(path, request.form)
                manifest.begin(identity, lambda: _anew(path, request))
            finally:
                lock.rmdir()
    manifest.check(identity)


def _await(manifest: Manifest, lock: Path) -> None:
    end = monotonic() + _WAIT
    while not manifest.exists:
        if monotonic() > end:
            raise DataError(
                f"another part has not created the target in {_WAIT:.0f} s: if none is at work, "
                f"remove {lock}"
            )
        sleep(0.05)


def _check_apart(request: Request, path: str) -> None:
    """Refuse to replace the image that is read, or the folder that it is in."""
    source = _file_of_image(request)
    if source is None or "://" in path:
        return
    target = Path(path).resolve()
    if target == source or target in source.parents:
        raise ArgumentError(f"{path} holds the image that is read: choose another target")


def _file_of_image(request: Request) -> Path | None:
    """Where the image is stored; None in memory, and behind a URL."""
    opener = request.source.opener
    if opener is None:
        return _file_of(request.source.array)
    return None if "://" in opener[0] else Path(opener[0]).resolve()


def _file_of(array: Any) -> Path | None:
    """Where an array is stored that a user has opened: a memory map, or one of Zarr."""
    name, place = getattr(array, "filename", None), getattr(array, "store_path", None)
    root = getattr(getattr(place, "store", None), "root", None)
    if root is not None:
        name = Path(root, getattr(place, "path", ""))
    return None if name is None else Path(name).resolve()


def _is_image(request: Request, target: Any) -> bool:
    """Whether an array is the image that is read, or shares memory or a store with it."""
    image = request.source.array
    arrays = isinstance(image, np.ndarray) and isinstance(target, np.ndarray)
    if arrays and np.shares_memory(image, target):
        return True
    file = _file_of(target)
    places = [getattr(array, "store_path", None) for array in (image, target)]
    same_store = None not in places and str(places[0]) == str(places[1])
    return same_store or (file is not None and file == _file_of_image(request))


def _folder(path: str) -> Path:
    """Where the manifest of a target is: beside it, or in the working folder for a URL."""
    if "://" in path:
        digest = blake2b(path.encode(), digest_size=4).hexdigest()
        return Path(f"{path.rstrip('/').rsplit('/', 1)[-1]}-{digest}.tiling")
    return Path(path.rstrip("/") + ".tiling")


def _in_memory(request: Request, target: Any, resume: bool, part: tuple[int, int] | None) -> Target:
    if resume or part is not None:
        raise ArgumentError("resume and part need a target with a path")
    form = request.form
    if not (target is None or hasattr(target, "shape")) or isinstance(target, torch.Tensor):
        raise ArgumentError(
            f"a target is a path, or an array of NumPy or Zarr: not {type(target).__name__}"
        )
    if target is None:
        array = np.full(form.shape, form.fill, dtype=form.dtype)
        return Target("", form, array)
    if tuple(getattr(target, "shape", ())) != form.shape:
        raise ArgumentError(
            f"the target has shape {tuple(getattr(target, 'shape', ()))}, the result {form.shape}"
        )
    if np.dtype(target.dtype) != np.dtype(form.dtype):
        raise ArgumentError(f"the target holds {target.dtype}, the result is {form.dtype}")
    if isinstance(target, np.ndarray) and not target.flags.writeable:
        raise ArgumentError("the target is read-only: pass an array that may be written to")
    if _is_image(request, target):
        raise ArgumentError("the target holds the image that is read: choose another target")
    return Target("", form, target)
