"""A run: sweeps first where they are needed, then every unit once, with a manifest beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from convsmith.errors import DataError
from convsmith.tiling.begin import begin, share
from convsmith.tiling.budget import peak_bytes
from convsmith.tiling.engines import on_client, on_executor, on_threads
from convsmith.tiling.exact import read_image
from convsmith.tiling.interpreter import Interpreter, Statistics
from convsmith.tiling.job import Job, computes
from convsmith.tiling.manifest import Manifest, Record, Unit, stamp
from convsmith.tiling.outcome import Outcome
from convsmith.tiling.patch import Patch
from convsmith.tiling.plan import Plan
from convsmith.tiling.ranges import ranges
from convsmith.tiling.request import Request
from convsmith.tiling.spans import Spans, lengths
from convsmith.tiling.stores.formats import format_of
from convsmith.tiling.stores.target import (
    Target,
    finish,
)  # fmt: skip
from convsmith.tiling.sweeps import pieces, sweep
from convsmith.tiling.worker import Worker

__all__ = ["run"]


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
    with ExitStack() as locks:
        return _run(
            request, plan, target, locks, resume, force, workers, executor, client, part,
            progress, memory,
        )  # fmt: skip


def _run(
    request: Request,
    plan: Plan,
    target: Any,
    locks: ExitStack,
    resume: bool,
    force: bool,
    workers: int,
    executor: Executor | None,
    client: Any,
    part: tuple[int, int] | None,
    progress: Callable[[str, int, int], None] | None,
    memory: int,
) -> Outcome:
    started = perf_counter()
    report = progress or (lambda what, done, of: None)
    manifest, opened, before = begin(request, target, resume, force, part, locks)
    known = sweeps(request, memory, report)
    units = [u for u in share(request, part) if u not in before]
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
        finish(opened, request.placement if format_of(opened.path).placed else None)
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
        seconds=perf_counter() - started,
        counts=_counts(list(done.values())),
        array=opened.array,
    )


def _writer_name(part: tuple[int, int] | None) -> str:
    return stamp() if part is None else f"part-{part[0]}-of-{part[1]}-{stamp()}"


def _complete(request: Request, manifest: Manifest | None, done: dict[Unit, Record]) -> bool:
    """Whether every unit is there: of all writers, where there are several."""
    if manifest is not None:
        done = manifest.done()
    return all(unit in done for unit in request.geometry.units())


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
        request.survey, request.apart, request.recipe, request.prepare, request.source,
        opened.path, request.form, request.geometry, request.reducer, known, request.mask,
    )  # fmt: skip
    if client is not None:
        return on_client(client, job, units)
    assert manifest is not None
    assert executor is not None
    return on_executor(executor, job, manifest.folder / f"job-{job.key}", units)


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
