"""Whole networks in every runtime: six networks, four sizes, one and eight images."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from statistics import geometric_mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import convsmith as cs
from benchmarks import cell as cells
from benchmarks import half
from benchmarks.choice import chosen
from benchmarks.footprint import footprints
from benchmarks.limits import limits
from benchmarks.mobile import NETWORKS, settled
from benchmarks.network_tables import common
from benchmarks.network_tables import tables as float_tables
from benchmarks.rows import gathered
from benchmarks.runtimes import CONVSMITH, versions
from convsmith.report import Table, milliseconds

__all__ = ["missed", "options", "run", "tables", "timed"]

MEAN, LEVEL, MEMORY, ERROR = 1.15, 0.97, 0.05, 2.0
PEAK = 0.85
ACCURACY = (224, 1)
MEMORY_SIZE = 2048
LARGE = (1024, 1)
# Eight images of 1024² and more would take about an hour, for they run one after the other.
SIZES = ((224, 1), (512, 1), (1024, 1), (2048, 1), (224, 8), (512, 8))
QUICK = ((224, 1), (1024, 1))


def options(parser: ArgumentParser) -> None:
    cells.options(parser, 2.0)


def run(options: Namespace) -> dict[str, Any]:
    """Time every network at every size; then errors against float64, and memory."""
    result = timed(NETWORKS, QUICK if options.quick else SIZES, options)
    if options.precision == "bf16":
        result["memory"] = _kept(chosen(NETWORKS, options.only), options.threads)
        lines = [*half.missed(result["rows"]), *half.missed_memory(result["memory"])]
        return {**result, "precision": "bf16", "missed": lines}
    result["memory"] = footprints(options.threads, MEMORY_SIZE)
    return {**result, "missed": [*missed(result, PEAK), *_memory(result)]}


def timed(
    networks: Mapping[str, Callable[[], nn.Module]],
    sizes: Sequence[tuple[int, int]],
    options: Namespace,
) -> dict[str, Any]:
    """The chosen networks at each size and batch, beside the limits of the machine."""
    start = time.perf_counter()
    picked = chosen(networks, options.only)
    best = limits(options.threads)
    made: dict[str, nn.Module] = {}

    def measure(cell: tuple[str, int, int]) -> dict[str, Any]:
        name, size, batch = cell
        if name not in made:
            made.clear()  # one network after the other: only one is held
            torch.manual_seed(0)
            made[name] = settled(picked[name]())
        return {"network": name, **_row(made[name], size, batch, best, options)}

    def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "limits": best,
            "versions": versions(),
            "rows": rows,
            "accuracy": [
                {"network": row["network"], "errors": row["errors"]}
                for row in rows
                if (row["size"], row["batch"]) == ACCURACY
            ],
            "seconds": round(time.perf_counter() - start),
        }

    known = {f"{n} {batch}×{size}²": (n, size, batch) for n in picked for size, batch in sizes}
    return gathered(known, measure, result)


def _row(
    model: nn.Module, size: int, batch: int, limits: Mapping[str, Any], options: Namespace
) -> dict[str, Any]:
    """A network's cell at a size; its errors are against float64 at 224²."""
    image = _image(size, batch)
    exact = _exact(model, image) if (size, batch) == ACCURACY else None
    names = cells.chosen_runtimes(options)
    cell = cells.measured(model, image, options.threads, options.seconds, names, exact)
    return {
        "size": size,
        "batch": batch,
        **cell,
        "times_best_peer": cells.ratio(cell),
        "times_channels_last": cells.ratio(cell, "channels_last"),
        "share": _share(model, image, cells.median(cell, CONVSMITH), limits),
    }


def _kept(networks: Mapping[str, Callable[[], nn.Module]], threads: int) -> dict[str, Any]:
    """Bytes of the maps of a call in float32 and in bf16, for each network at 1024²."""
    found = {}
    for name, make in networks.items():
        model, image = make().eval(), _image(*LARGE)
        found[name] = {
            runtime: cs.compile(model, image, threads=threads, precision=precision)
            .profile(rounds=1)
            .nbytes
            for runtime, precision in ((CONVSMITH, "float32"), (half.OURS, "bf16"))
        }
    return found


def _share(
    model: nn.Module, image: Tensor, ms: float | None, limits: Mapping[str, Any]
) -> float | None:
    """The multiply-adds that the network is said to need, as a share of what the peak allows."""
    if ms is None:
        return None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deepcopy(model).to("meta")(image.to("meta"))
    return float(counter.get_total_flops() / ms / 1e6 / limits["gflops"])


def _image(size: int, batch: int) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def _exact(model: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = deepcopy(model).double()(image.double())
    return found


def tables(result: dict[str, Any]) -> Sequence[Table]:
    if result.get("precision") == "bf16":
        return [*common(result), *half.tables(result)]
    return float_tables(result)


def missed(result: dict[str, Any], share: float = 0) -> Iterator[str]:
    """The goals that a run has not reached.

    Args:
        result: of the run.
        share: of the peak, for each cell.
    """
    ratios = []
    for row in result["rows"]:
        cell = f"{row['network']} {row['batch']}×{row['size']}²"
        times, reached = row["times_best_peer"], row["share"]
        if times is None:
            yield f"{cell}: {row['reasons'].get(CONVSMITH, 'not run')}"
            continue
        ratios.append(times)
        of_peak = f", {reached:.0%} of the peak"
        if times < LEVEL:
            peer, ours = cells.best_peer(row), cells.median(row, CONVSMITH)
            assert peer is not None
            assert ours is not None
            yield f"{cell}: {milliseconds(ours)}{of_peak}, {peer[0]} {milliseconds(peer[1])}"
        elif reached < share:
            yield f"{cell}{of_peak}, not {share:.0%}"
    if ratios and geometric_mean(ratios) < MEAN:
        yield f"geometric mean {geometric_mean(ratios):.2f}× the best peer, not {MEAN}×"
    for row in result["accuracy"]:
        ours, eager = row["errors"].get(CONVSMITH), row["errors"]["eager"]
        if ours is not None and ours > ERROR * eager:
            yield f"{row['network']}: error {ours:.1e}, more than twice eager's {eager:.1e}"


def _memory(result: dict[str, Any]) -> Iterator[str]:
    memory = result["memory"]
    taken = memory[CONVSMITH], memory["ONNX Runtime"]
    if not all(isinstance(value, int) for value in taken):
        yield f"memory: {taken}"
    elif taken[0] > MEMORY * taken[1]:
        yield f"memory at {memory['size']}²: {taken[0] / taken[1]:.2f} of ONNX Runtime's"
