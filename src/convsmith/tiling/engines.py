"""Engines: who computes the units. All keep a few in flight and hand each record to one writer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from convsmith.errors import ArgumentError, ConvsmithError, DataError, first_line
from convsmith.tiling.job import Job, run_unit
from convsmith.tiling.manifest import Record, Unit
from convsmith.tiling.worker import Worker

__all__ = ["on_client", "on_executor", "on_threads"]

_AHEAD = 2
"""Units in flight per thread: one that runs, and one that waits, so that no thread does."""


def on_threads(worker: Worker, units: Iterable[Unit], workers: int) -> Iterator[Record]:
    """Compute units in threads of this process; with one worker, in the caller's own."""
    if workers == 1:
        for unit in units:
            yield worker.unit(unit)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield from _drive(lambda unit: pool.submit(worker.unit, unit), units, workers + 1)
    finally:
        torch.set_num_threads(threads)


def on_executor(
    executor: Executor, job: Job, folder: Path, units: Iterable[Unit]
) -> Iterator[Record]:
    """Compute units by any executor; its processes read the job from a folder.

    Raises:
        DataError: when a worker has died.
    """
    where = job.save(folder)
    width = _AHEAD * int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
    try:
        yield from _drive(lambda unit: executor.submit(run_unit, where, unit), units, width)
    except ConvsmithError:
        raise
    except Exception as error:  # each kind of executor has errors of its own
        raise DataError(
            f"a worker failed ({first_line(error) or type(error).__name__}): run the same again "
            "with resume"
        ) from error


def on_client(client: Any, job: Job, units: Iterable[Unit]) -> Iterator[Record]:
    """Compute units on a `dask.distributed` cluster: futures, the job sent to each worker once."""
    if not hasattr(client, "scatter") or not hasattr(client, "nthreads"):
        raise ArgumentError(f"client= takes a distributed.Client, not {type(client).__name__}")
    from distributed import as_completed

    shared = client.scatter(job, broadcast=True, hash=False)
    width = _AHEAD * max(1, sum(client.nthreads().values()))
    rest = iter(units)

    def submit(unit: Unit) -> Any:
        return client.submit(run_unit, shared, unit, pure=False, retries=2)

    running = as_completed([submit(unit) for unit in islice(rest, width)])
    for future in running:
        try:
            record: Record = future.result()
        except ConvsmithError:
            raise
        except Exception as error:
            raise DataError(
                f"a worker failed ({first_line(error) or type(error).__name__}): run the same "
                "again with resume"
            ) from error
        future.release()
        yield record
        following = next(rest, None)
        if following is not None:
            running.add(submit(following))


def _drive(
    submit: Callable[[Unit], Future[Record]], units: Iterable[Unit], width: int
) -> Iterator[Record]:
    """Keep `width` units in flight, and give records as they come."""
    rest = iter(units)
    pending = {submit(unit) for unit in islice(rest, width)}
    try:
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
            for unit in islice(rest, len(finished)):
                pending.add(submit(unit))
    finally:
        for future in pending:
            future.cancel()
