"""Single layers that every runtime is slow at, beside the best that the machine reaches."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import cell as cells
from benchmarks.choice import chosen
from benchmarks.limits import limits
from benchmarks.rows import gathered
from benchmarks.runtimes import CONVSMITH, versions
from convsmith.report import Column, Table, percent

__all__ = ["CASES", "Case", "options", "run", "tables"]

TIMES, SHARE = 3.0, 0.6


@dataclass(frozen=True)
class Case:
    """A layer with its input; `macs` is counted by hand."""

    name: str
    shape: tuple[int, int, int, int]
    macs: int
    build: Callable[[], nn.Module]


CASES = (
    Case("128→128×56², 32 groups", (1, 128, 56, 56), 9 * 4 * 128 * 56**2,
         partial(nn.Conv2d, 128, 128, 3, padding=1, groups=32)),
    Case("256→256×28², 32 groups", (1, 256, 28, 28), 9 * 8 * 256 * 28**2,
         partial(nn.Conv2d, 256, 256, 3, padding=1, groups=32)),
    Case("transposed DW 256×32², k4 s2", (1, 256, 32, 32), 16 * 256 * 32**2,
         partial(nn.ConvTranspose2d, 256, 256, 4, stride=2, padding=1, groups=256)),
    Case("DW 256×64², dilation 12", (1, 256, 64, 64), 9 * 256 * 64**2,
         partial(nn.Conv2d, 256, 256, 3, padding=12, dilation=12, groups=256)),
    Case("DW 64×64², 31×31", (1, 64, 64, 64), 31**2 * 64 * 64**2,
         partial(nn.Conv2d, 64, 64, 31, padding=15, groups=64)),
)  # fmt: skip


def options(parser: ArgumentParser) -> None:
    cells.options(parser, 3.0)


def run(options: Namespace) -> dict[str, Any]:
    """Time every layer alone."""
    cases = list(chosen({case.name: case for case in CASES}, options.only).values())
    best = limits(options.threads)
    picked = (options.quick and cases[1:4]) or cases

    def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
        missed = [line for row in rows for line in _missed(row)]
        return {"limits": best, "versions": versions(), "rows": rows, "missed": missed}

    return gathered({c.name: c for c in picked}, lambda c: _row(c, options, best), result)


def _row(case: Case, options: Namespace, best: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    layer = case.build().eval()
    image = torch.randn(case.shape)
    found = cells.measured(layer, image, options.threads, options.seconds, options.runtimes)
    with torch.no_grad():
        values = image.numel() + layer(image).numel() + sum(p.numel() for p in layer.parameters())
    ours = cells.median(found, CONVSMITH)
    reached = {} if ours is None else cells.limited(2e-9 * case.macs, 4e-9 * values, ours, best)
    return {"layer": case.name, "macs": case.macs, "bytes": 4 * values, **found,
            "times_best_peer": cells.ratio(found), **reached}  # fmt: skip


def _missed(row: dict[str, Any]) -> Iterator[str]:
    times = row["times_best_peer"]
    if times is None:
        yield f"{row['layer']}: {row['reasons'].get(CONVSMITH, 'not run')}"
    elif times < TIMES and row["share"] < SHARE:
        peer = cells.best_peer(row)
        yield (
            f"{row['layer']}: {times:.2f}× {peer[0] if peer else ''}, "
            f"{percent(row['share'], 0)} of {row['binding']}"
        )


def tables(result: dict[str, Any]) -> Sequence[Table]:
    rows = result["rows"]
    shown = [
        {"layer": row["layer"], "times": row["times_best_peer"]}
        | {key: row.get(key) for key in ("gflop_s", "gb_s", "binding", "share")}
        | {name: time["median_ms"] for name, time in row["times"].items()}
        for row in rows
    ]
    limit = result["limits"]
    return [
        Table(
            [
                Column("layer", "layer"),
                *cells.columns(rows),
                Column("times", "× best peer", align="right", format="{:.2f}".format),
                Column("gflop_s", "GFLOP/s", align="right", format="{:.0f}".format),
                Column("gb_s", "GB/s", align="right", format="{:.1f}".format),
                Column("binding", "bound by"),
                Column("share", "of the limit", align="right", share=True),
            ],
            shown,
            title=f"Layers alone, threads: {limit['threads']}",
            note="The last four columns are convsmith's; bytes are those of input, output and "
            f"weights, each counted once. Limits: {limit['gflops']} GFLOP/s and "
            f"{limit['gb_s']} GB/s of a copy in memory; maps that stay in a cache may exceed the "
            f"second. Goal: {TIMES:.0f}× the best fp32 peer, or {percent(SHARE, 0)} of the limit. "
            + cells.reasons({row["layer"]: row for row in rows}),
        )
    ]
