"""Whole networks in every runtime: six networks, four sizes, one and eight images."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from copy import deepcopy
from statistics import geometric_mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import cell as cells
from benchmarks.choice import chosen
from benchmarks.footprint import footprints
from benchmarks.limits import limits
from benchmarks.mobile import NETWORKS, settled
from benchmarks.network_tables import tables
from benchmarks.runtimes import CONVSMITH, versions
from convsmith.report import milliseconds

__all__ = ["options", "run", "tables"]

MEAN, CHANNELS_LAST, MEMORY, ERROR = 1.3, 10.0, 0.25, 2.0
ACCURACY = (224, 1)
MEMORY_SIZE = 2048
# Eight images of 1024² and more would take about an hour, for they run one after the other.
SIZES = ((224, 1), (512, 1), (1024, 1), (2048, 1), (224, 8), (512, 8))
QUICK = ((224, 1), (1024, 1))


def options(parser: ArgumentParser) -> None:
    cells.options(parser, 2.0)


def run(options: Namespace) -> dict[str, Any]:
    """Time every network at every size; then errors against float64, and memory."""
    start = time.perf_counter()
    networks = chosen(NETWORKS, options.only)
    best = limits(options.threads)
    rows: list[dict[str, Any]] = []
    accuracy: list[dict[str, Any]] = []
    for name, make in networks.items():
        torch.manual_seed(0)
        model = settled(make())
        for size, batch in QUICK if options.quick else SIZES:
            image = _image(size, batch)
            exact = _exact(model, image) if (size, batch) == ACCURACY else None
            found = cells.measured(
                model, image, options.threads, options.seconds, options.runtimes, exact
            )
            if exact is not None:
                accuracy.append({"network": name, "errors": found["errors"]})
            rows.append(
                {"network": name, "size": size, "batch": batch, **found}
                | {"times_best_peer": cells.ratio(found)}
                | {"times_channels_last": cells.ratio(found, "channels_last")}
            )
    result = {
        "limits": best,
        "versions": versions(),
        "rows": rows,
        "accuracy": accuracy,
        "memory": footprints(options.threads, MEMORY_SIZE),
        "seconds": round(time.perf_counter() - start),
    }
    return {**result, "missed": list(_missed(result))}


def _image(size: int, batch: int) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def _exact(model: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = deepcopy(model).double()(image.double())
    return found


def _missed(result: dict[str, Any]) -> Iterator[str]:
    ratios = []
    for row in result["rows"]:
        cell = f"{row['network']} {row['batch']}×{row['size']}²"
        times, last = row["times_best_peer"], row["times_channels_last"]
        if times is None:
            yield f"{cell}: {row['reasons'].get(CONVSMITH, 'not run')}"
            continue
        ratios.append(times)
        if times <= 1:
            peer, ours = cells.best_peer(row), cells.median(row, CONVSMITH)
            assert peer is not None
            assert ours is not None
            yield f"{cell}: {milliseconds(ours)}, {peer[0]} {milliseconds(peer[1])}"
        if row["size"] == MEMORY_SIZE and last is not None and last < CHANNELS_LAST:
            yield f"{cell}: {last:.1f}× channels_last, not {CHANNELS_LAST:.0f}×"
    if ratios and geometric_mean(ratios) < MEAN:
        yield f"geometric mean {geometric_mean(ratios):.2f}× the best peer, not {MEAN}×"
    for row in result["accuracy"]:
        ours, eager = row["errors"].get(CONVSMITH), row["errors"]["eager"]
        if ours is not None and ours > ERROR * eager:
            yield f"{row['network']}: error {ours:.1e}, more than twice eager's {eager:.1e}"
    memory = result["memory"]
    taken = memory[CONVSMITH], memory["ONNX Runtime"]
    if not all(isinstance(value, int) for value in taken):
        yield f"memory: {taken}"
    elif taken[0] > MEMORY * taken[1]:
        yield f"memory at {memory['size']}²: {taken[0] / taken[1]:.2f} of ONNX Runtime's"
