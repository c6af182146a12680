"""A run: sweeps first where they are needed, then every unit once, with a manifest beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from hashlib import blake2b
from itertools import islice
from math import prod
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convsmith._version import __version__
from convsmith.errors import ArgumentError, DataError
from convsmith.tiling.budget import peak_bytes
from convsmith.tiling.engines import on_client, on_executor, on_threads
from convsmith.tiling.exact import read_image
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.job import Job, computes
from convsmith.tiling.manifest import Manifest, Record, Unit, stamp
from convsmith.tiling.outcome import Outcome
from convsmith.tiling.patch import Patch
from convsmith.tiling.placement import Placement
from convsmith.tiling.plan import Plan
from convsmith.tiling.ranges import ranges
from convsmith.tiling.reduce import named
from convsmith.tiling.request import Request
from convsmith.tiling.spans import Spans, lengths
from convsmith.tiling.stores.formats import format_of
from convsmith.tiling.stores.target import (
    Target,
    check_form,
    create,
    exists,
    finish,
    remove,
    reopen,
)  # fmt: skip
from convsmith.tiling.sweeps import pieces, sweep
from convsmith.tiling.worker import Worker

__all__ = ["run"]

_WAIT = 60.0
"""Seconds that one part waits for another that has begun to create the target."""


def run(
    request: Request,
    plan: Plan,
    target: Any,
    *,
    resume: bool,
    force: bool,
    workers: int,
    executor: Executor | None,
    client: Any,
    part: tuple[int, int] | None,
    progress: Callable[[str, int, int], None] | None,
    memory: int,
) -> Outcome:
    """Do what was planned; see `Tiled.run`."""
    begin = perf_counter()
    report = progress or (lambda what, done, of: None)
    manifest, opened, before = _open(request, target, resume, force, part)
    known = sweeps(request, memory, report)
    units = [u for u in _share(request, part) if u not in before]
    records = _records(request, opened, units, known, workers, executor, client, manifest)
    writer = manifest.writer(_writer_name(part)) if manifest else None
    done = dict(before)
    total = len(done) + len(units)
    report("tiles", len(done), total)
    try:
        for record in records:
            done[record.unit] = record
            if writer is not None:
                opened.flush()
                writer.add(record)
            report("tiles", len(done), total)
    finally:
        if writer is not None:
            writer.close()
    complete = _complete(request, manifest, done)
    if complete and manifest is not None:
        done = manifest.confirm(request.geometry.units())
        finish(opened, _placement(request, opened.path))
    elif not complete and part is None:
        raise DataError(f"{request.geometry.number - len(done)} units were never computed")
    return Outcome(
        plan=plan,
        target=opened.path,
        units=request.geometry.number,
        computed=len(units),
        resumed=len(before),
        masked=sum(record.masked for record in done.values()),
        complete=complete,
        seconds=perf_counter() - begin,
        counts=_counts(list(done.values())),
        array=opened.array,
    )


def _share(request: Request, part: tuple[int, int] | None) -> Iterator[Unit]:
    """The units of one part of a job array, or all."""
    index, of = part or (0, 1)
    return islice(request.geometry.units(), index, None, of)


def _writer_name(part: tuple[int, int] | None) -> str:
    return stamp() if part is None else f"part-{part[0]}-of-{part[1]}-{stamp()}"


def _complete(request: Request, manifest: Manifest | None, done: dict[Unit, Record]) -> bool:
    """Whether every unit is there: of all writers, where there are several."""
    if manifest is not None:
        done = manifest.done()
    return len(done) == request.geometry.number


def _counts(records: Sequence[Record]) -> tuple[int, ...]:
    """The histograms of all units, added up."""
    longest = max((len(record.counts) for record in records), default=0)
    total = np.zeros(longest, dtype=np.int64)
    for record in records:
        total[: len(record.counts)] += np.array(record.counts, dtype=np.int64)
    return tuple(total.tolist())


def _records(
    request: Request,
    opened: Target,
    units: Sequence[Unit],
    known: Sequence[Statistics],
    workers: int,
    executor: Executor | None,
    client: Any,
    manifest: Manifest | None,
) -> Iterator[Record]:
    if executor is None and client is None:
        worker = Worker(
            computes(
                request.survey, request.recipe, request.prepare, request.geometry.tile, workers
            ), request.source,
            opened, request.geometry, request.reducer, known, request.mask,
        )  # fmt: skip
        return on_threads(worker, units, workers)
    job = Job.pack(
        request.survey, request.recipe, request.prepare, request.source, opened.path,
        request.form, request.geometry, request.reducer, known, request.mask,
    )  # fmt: skip
    if client is not None:
        return on_client(client, job, units)
    assert manifest is not None
    assert executor is not None
    return on_executor(executor, job, manifest.folder / f"job-{job.key}", units)


def _open(
    request: Request, target: Any, resume: bool, force: bool, part: tuple[int, int] | None
) -> tuple[Manifest | None, Target, dict[Unit, Record]]:
    """The manifest, the target, and the units that are done."""
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
        done = manifest.done()
        mine = {unit: done[unit] for unit in _share(request, part) if unit in done}
        if mine and not resume:
            raise ArgumentError(f"part {part[0]} of {path} has begun: pass resume to go on")
        return manifest, reopen(path, request.form), mine
    there = manifest.exists or exists(path)
    if there and not (resume or force):
        raise ArgumentError(f"{path} exists: pass resume to go on with it, or force to replace it")
    if manifest.exists and resume and not force:
        manifest.check(identity)
        return manifest, reopen(path, request.form), manifest.done()
    if there and not force:
        raise ArgumentError(
            f"{path} exists, but no run was begun there ({manifest.folder} is missing): pass "
            "force to replace it"
        )
    remove(path)
    opened = create(path, request.form, _placement(request, path))
    manifest.begin(identity)
    return manifest, opened, {}


def _placement(request: Request, path: str) -> Placement | None:
    """Where the result lies on the image, for a format that can say it."""
    return request.placement if format_of(path).placed else None


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
                if exists(path):
                    raise ArgumentError(f"{path} exists: remove it before the first part starts")
                create(path, request.form, _placement(request, path))
                manifest.begin(identity)
            finally:
                lock.rmdir()
    manifest.check(identity)


def _await(manifest: Manifest, lock: Path) -> None:
    end = monotonic() + _WAIT
    while not manifest.exists:
        if monotonic() > end:
            raise DataError(f"another part has not created the target in {_WAIT:.0f} s: {lock}")
        sleep(0.05)


def _check_apart(request: Request, path: str) -> None:
    """Refuse to replace the image that is read, or the folder that it is in."""
    opener = request.source.opener
    read = opener[0] if opener is not None else getattr(request.source.array, "filename", None)
    if read is None or "://" in path or "://" in str(read):
        return
    source, target = Path(read).resolve(), Path(path).resolve()
    if target == source or target in source.parents:
        raise ArgumentError(f"{path} holds the image that is read: choose another target")


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
    if target is None:
        array = np.full(form.shape, form.fill, dtype=form.dtype)
        return Target("", form, array)
    if tuple(getattr(target, "shape", ())) != form.shape:
        raise ArgumentError(
            f"the target has shape {tuple(getattr(target, 'shape', ()))}, the result {form.shape}"
        )
    if np.dtype(target.dtype) != np.dtype(form.dtype):
        raise ArgumentError(f"the target holds {target.dtype}, the result is {form.dtype}")
    return Target("", form, target)


def identify(request: Request, path: str) -> dict[str, Any]:
    """What a resumed run must have in common with the one that began."""
    network = request.survey.network
    program = network.program
    weights = blake2b(digest_size=16)
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        if isinstance(value, Tensor):
            weights.update(name.encode())
            weights.update(_raw(value))
    graph = blake2b(str(program.graph).encode(), digest_size=16).hexdigest()
    mask = None
    if request.mask is not None:
        mask = blake2b(np.ascontiguousarray(request.mask.array).tobytes(), digest_size=16)
    try:
        reduces: Any = named(request.reducer)
    except ArgumentError:
        reduces = repr(request.reducer)
    return {
        "version": __version__,
        "weights": weights.hexdigest(),
        "network": graph,
        "input": request.source.fingerprint(),
        "settings": {
            "recipe": asdict(request.recipe),
            "prepare": asdict(request.prepare),
            "reducer": reduces,
            "tile": request.geometry.tile,
            "unit": request.geometry.unit,
        },
        "mask": None if mask is None else mask.hexdigest(),
        "target": {"path": path if "://" in path else Path(path).name, **asdict(request.form)},
    }


def _raw(value: Tensor) -> bytes:
    """The bytes of a tensor's values."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def sweeps(
    request: Request, memory: int, report: Callable[[str, int, int], None]
) -> list[Statistics]:
    """The statistics of each image, gathered level by level; [] where none are needed."""
    levels = request.survey.levels if request.recipe.mode == "exact" else ()
    if not levels:
        return []
    interpreter = Interpreter(request.survey, request.recipe.device)
    gathered = []
    for image in range(request.source.images):

        def read(spans: Spans, image: int = image) -> Patch:
            patch = read_image(request.source, request.prepare, request.survey, image, spans)
            return Patch(patch.tensor.to(interpreter.device), patch.spans, patch.shape)

        known = Statistics()
        for number, level in enumerate(levels):
            counts = _pieces(request, level, known, memory)
            total, done = prod(counts), 0
            what = f"sweep {number + 1} of {len(levels)}"

            def step(what: str = what, total: int = total) -> None:
                nonlocal done
                done += 1
                report(what, done, total)

            known = sweep(interpreter, level, read, counts, known, step)
        gathered.append(known)
    return gathered


def _pieces(
    request: Request, level: Sequence[str], known: Statistics, memory: int
) -> tuple[int, ...]:
    """How many pieces each axis of the image is cut into, so that a piece fits the memory."""
    surveyed = request.survey
    sources = {surveyed.network[name].inputs[0] for name in level}
    counts = [1] * len(request.source.size)
    while True:
        middle = [count // 2 for count in counts]
        targets = {name: pieces(surveyed, name, counts, middle) for name in sources}
        targets = {name: spans for name, spans in targets.items() if 0 not in lengths(spans)}
        needs = ranges(surveyed, targets, values=known.values, normalised=known.moments)
        # Moments are taken in float64: the part once more, twice as wide.
        copies = sum(8 * prod(lengths(spans)) * 2 for spans in targets.values())
        if peak_bytes(surveyed, needs, known) + copies <= memory:
            return tuple(counts)
        sides = [n / c for n, c in zip(request.source.size, counts, strict=True)]
        axis = sides.index(max(sides))
        if sides[axis] <= 1:
            return tuple(counts)
        counts[axis] = min(2 * counts[axis], request.source.size[axis])
