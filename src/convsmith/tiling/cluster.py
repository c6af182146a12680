"""A cluster to compute on: a Dask scheduler that runs, or processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convsmith.arithmetic.normalise import count
from convsmith.errors import ArgumentError, DataError, MissingExtra, first_line
from convsmith.machine import most_threads

__all__ = ["connect"]


@contextmanager
def connect(address: str, workers: int) -> Iterator[Any]:
    """A `distributed.Client`, closed afterwards.

    Args:
        address: of a scheduler, such as `tcp://host:8786`; or `local` for processes of this
            machine, one thread each.
        workers: how many processes, with `local`.

    Raises:
        ArgumentError: for what is not a scheduler, or a number of workers.
        DataError: where no scheduler answers.
        MissingExtra: where Dask is not installed.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingExtra("many machines", extra="tile", package="distributed") from None
    if address == "local":
        count("workers", workers, 1, most_threads())
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, processes=True
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    if "://" not in address:
        raise ArgumentError(f"{address!r} is not a scheduler: expected tcp://host:8786 or local")
    try:
        client = Client(address, timeout="10s")
    except OSError as error:
        raise DataError(f"no scheduler answers at {address}: {first_line(error)}") from error
    with client:
        yield client
