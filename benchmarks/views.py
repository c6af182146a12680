"""Seconds for all that `inspect` shows except latency, and how they grow with the layers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import nn

import convsmith as cs
from benchmarks import architectures

__all__ = ["GOAL", "NETWORKS", "VIEWS", "grown", "viewed", "warm"]

GOAL = 1.5
"""Seconds for all views of a network, after import."""

NETWORKS = ("resnet50", "densenet201", "hrnet_w18")
VIEWS = ("inspect", "receptive field", "field table", "holes", "memory")
LAYERS = (10, 100, 1000)
EXPORT = "torch.export"
ENOUGH = 30
"""Seconds after which a network is not run again."""


def warm() -> None:
    """Load what is imported at first use, which no figure should include."""
    _views(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()).eval(), (1, 1, 9, 9))


def viewed(name: str, runs: int) -> dict[str, Any]:
    """Seconds for each view of one of our networks on 1×3×224×224."""
    with torch.device("meta"):
        model: nn.Module = getattr(architectures, name)().eval()
    shape = (1, 3, 224, 224)
    params = sum(parameter.numel() for parameter in model.parameters())
    alone = [_export(model, shape) for _ in range(runs)]
    return {"network": name, "params": params, **_median(model, shape, runs), EXPORT: min(alone)}


def grown(runs: int) -> list[dict[str, Any]]:
    """The same for plain convolutions in series."""
    rows = []
    for count in LAYERS:
        with torch.device("meta"):
            model = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(count))).eval()
        shape = (1, 8, 32, 32)
        found = _median(model, shape, runs)
        alone = min(_export(model, shape) for _ in range(runs))
        rows.append({"count": count, **found, EXPORT: alone, "each": found["sum"] / count})
    return rows


def _median(model: nn.Module, shape: tuple[int, ...], runs: int) -> dict[str, Any]:
    """The run with the median sum, so that its parts add up."""
    found: list[dict[str, Any]] = []
    while len(found) < runs and sum(run["sum"] for run in found) < ENOUGH:
        found.append(_views(model, shape))
    found.sort(key=lambda run: run["sum"])
    return {**found[len(found) // 2], "runs": len(found), "low": found[0]["sum"],
            "high": found[-1]["sum"]}  # fmt: skip


def _views(model: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    gc.collect()
    started = perf_counter()
    report = cs.inspect(model, shape)
    calls: tuple[Callable[[], object], ...] = (
        lambda: (report.receptive_field, report.local_receptive_field),
        report.field_table,
        report.holes,
        lambda: report.memory,
    )
    times = [perf_counter()]
    for call in calls:
        call()
        times.append(perf_counter())
    each = [end - start for start, end in zip((started, *times), times, strict=False)]
    return {
        "layers": len(report.layers),
        **dict(zip(VIEWS, each, strict=True)),
        "sum": times[-1] - started,
    }


def _export(model: nn.Module, shape: tuple[int, ...]) -> float:
    gc.collect()
    example = torch.empty(shape, device="meta")
    started = perf_counter()
    with torch.no_grad():
        torch.export.export(model, (example,), strict=False)
    return perf_counter() - started
