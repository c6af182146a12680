"""What separable convolutions gain over standard ones, as a share of what theory promises."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from benchmarks import cell as cells
from benchmarks.choice import chosen
from benchmarks.half import OURS
from benchmarks.limits import limits
from benchmarks.mobile import settled_on
from benchmarks.rows import gathered
from benchmarks.runtimes import CONVSMITH, DIRECT, RUNTIMES, WINOGRAD, versions
from convsmith.report import Column, Table, milliseconds, percent

__all__ = ["CELLS", "Cell", "options", "run", "tables"]

GOAL, WHOLE = 0.9, 1.0
"""Shares of the promise that are to be kept, in float32 and in bf16."""


@dataclass(frozen=True)
class Cell:
    """Three layers in series, each with batch norm and ReLU after every convolution.

    Attributes:
        channels: before the first layer and after each.
        side: height and width of the input.
    """

    channels: tuple[int, int, int, int]
    side: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1

    @property
    def name(self) -> str:
        """The name of the cell, as the table shows it."""
        alike = len(set(self.channels)) == 1
        wide = f"{self.channels[0]}" if alike else "→".join(map(str, self.channels[:2]))
        more = [f"k{self.kernel}"] if self.kernel != 3 else []
        more += [f"stride {self.stride}"] if self.stride != 1 else []
        more += [f"dilation {self.dilation}"] if self.dilation != 1 else []
        return " ".join([f"{wide}×{self.side}²", *more])

    def build(self, separable: bool) -> nn.Module:
        """The three layers, for inference."""
        layers: list[nn.Module] = []
        padding = self.dilation * (self.kernel // 2)
        for m, n in pairwise(self.channels):
            out, groups = (m, m) if separable else (n, 1)
            conv = nn.Conv2d(
                m, out, self.kernel, self.stride, padding, self.dilation, groups, bias=False
            )
            layers += [conv, nn.BatchNorm2d(out), nn.ReLU()]
            if separable:
                layers += [nn.Conv2d(m, n, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU()]
        return nn.Sequential(*layers)

    def macs(self, separable: bool) -> int:
        """Multiply-adds of the three layers."""
        total, side, taps = 0, self.side, self.kernel**2
        for m, n in pairwise(self.channels):
            side = -(-side // self.stride)
            total += side**2 * (taps * m + m * n if separable else taps * m * n)
        return total

    @property
    def theory(self) -> float:
        """How many times fewer: 1 / (1/n + 1/k²) if all channels are alike."""
        return self.macs(False) / self.macs(True)


def _alike(channels: int, side: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> Cell:
    return Cell((channels,) * 4, side, kernel, stride, dilation)


CELLS = (
    _alike(64, 112), _alike(128, 56), _alike(256, 28), _alike(512, 14), _alike(128, 56, 5),
    _alike(128, 56, 7), _alike(64, 512), _alike(128, 256), _alike(128, 112, stride=2),
    _alike(128, 56, dilation=2), Cell((96, 160, 96, 160), 28),
)  # fmt: skip
QUICK = ("128×56²", "512×14²", "96→160×28²")


def options(parser: ArgumentParser) -> None:
    cells.options(parser, 3.0)


def run(options: Namespace) -> dict[str, Any]:
    """Time every cell as standard and as separable convolutions."""
    known = {c.name: c for c in CELLS if not options.quick or c.name in QUICK}
    picked = chosen(known, options.only)
    best = limits(options.threads)
    return gathered(
        picked, lambda cell: _row(cell, options, best), lambda rows: _result(rows, options, best)
    )


def _result(rows: list[dict[str, Any]], options: Namespace, best: dict[str, Any]) -> dict[str, Any]:
    judge = _missed_in_bf16 if options.precision == "bf16" else _missed
    missed = [line for row in rows for line in judge(row)]
    below = sum((row["kept_beside_winograd"] or 0) < GOAL for row in rows)
    if below and options.precision == "float32":
        missed.append(f"beside Winograd, {below} of {len(rows)} cells are under {percent(GOAL, 0)}")
    return {
        "limits": best,
        "versions": versions(),
        "rows": rows,
        "missed": missed,
        "precision": options.precision,
    }


def _row(cell: Cell, options: Namespace, best: dict[str, Any]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, cell.channels[0], cell.side, cell.side, generator=generator)
    usual = ",".join(runtime.name for runtime in RUNTIMES if runtime.usual)
    narrow = cells.chosen_runtimes(options) or usual
    standard, separable = (
        cells.measured(
            settled_on(cell.build(light), image),
            image,
            options.threads,
            options.seconds / 2,
            options.runtimes or (narrow if light else f"{usual},{DIRECT}"),
        )
        for light in (False, True)
    )
    names = {*cells.PEERS, CONVSMITH}
    ms, who = _fastest(standard, (names - {WINOGRAD}) | {DIRECT})
    fewer, _ = _fastest(standard, names)
    ours = cells.median(separable, CONVSMITH)
    gflop = 2e-9 * cell.macs(True)
    return {
        "cell": cell.name,
        "theory": cell.theory,
        "standard": standard,
        "separable": separable,
        "best_standard": {"runtime": who, "median_ms": ms},
        "kept": {
            name: ms / time["median_ms"] / cell.theory for name, time in separable["times"].items()
        },
        "kept_beside_winograd": None if ours is None else fewer / ours / cell.theory,
        **({} if ours is None else cells.limited(gflop, 0.0, ours, best)),
    }


def _fastest(cell: dict[str, Any], names: set[str]) -> tuple[float, str]:
    return min((ms, name) for name in names if (ms := cells.median(cell, name)) is not None)


def _missed(row: dict[str, Any]) -> Iterator[str]:
    kept, peer = row["kept"].get(CONVSMITH), cells.best_peer(row["separable"])
    if kept is None:
        yield f"{row['cell']}: {row['separable']['reasons'].get(CONVSMITH, 'not run')}"
        return
    if kept < GOAL:
        yield (
            f"{row['cell']}: {percent(kept)} of the promise kept, not {percent(GOAL, 0)}; "
            f"{row['gflop_s']:.0f} GFLOP/s, {percent(row['share'], 0)} of the peak"
        )
    ours = cells.median(row["separable"], CONVSMITH)
    if peer and ours and peer[1] <= ours:
        yield f"{row['cell']}: {milliseconds(ours)}, {peer[0]} {milliseconds(peer[1])}"


def _missed_in_bf16(row: dict[str, Any]) -> Iterator[str]:
    kept = row["kept"].get(OURS)
    if kept is None:
        yield f"{row['cell']}: {row['separable']['reasons'].get(OURS, 'not run')}"
    elif kept < WHOLE:
        yield f"{row['cell']}: {percent(kept)} of the promise kept in bf16, not {percent(WHOLE, 0)}"


def tables(result: dict[str, Any]) -> Sequence[Table]:
    rows = result["rows"]
    names = [c.key for c in cells.columns([row["separable"] for row in rows])]
    threads, narrow = result["limits"]["threads"], result.get("precision") == "bf16"
    goal = f"{percent(WHOLE, 0)} by {OURS}" if narrow else f"{percent(GOAL, 0)} by convsmith"
    kept = [
        {
            "cell": row["cell"],
            "theory": row["theory"],
            "standard": milliseconds(row["best_standard"]["median_ms"]),
            "by": row["best_standard"]["runtime"],
            **row["kept"],
            "winograd": row["kept_beside_winograd"],
        }
        for row in rows
    ]
    figures = [
        {"cell": row["cell"], "rate": row.get("gflop_s"), "share": row.get("share")}
        | {name: cells.median(row["separable"], name) for name in names}
        for row in rows
    ]
    limit = result["limits"]
    missing = {f"{row['cell']} {kind}": row[kind] for row in rows
               for kind in ("standard", "separable")}  # fmt: skip
    return [
        Table(
            [
                Column("cell", "cell"),
                Column("theory", "theory", align="right", format="{:.2f}×".format),
                Column("standard", "best standard", align="right"),
                Column("by", "by"),
                *(Column(name, name, align="right", share=True) for name in names),
                Column("winograd", "convsmith beside Winograd", align="right", share=True),
            ],
            kept,
            title=f"Promise kept, threads: {threads}",
            note="A runtime's gain over the fastest standard convolution of any fp32 runtime, as a "
            f"share of theory's. Goal: {goal} in every cell. Theory "
            "counts the multiply-adds of the convolution itself; ncnn's Winograd transforms need "
            "fewer for a dense 3×3 or 5×5, so it is shown here with them turned off, and the last "
            "column compares with ncnn as it comes.",
        ),
        Table(
            [
                Column("cell", "cell"),
                *cells.columns([row["separable"] for row in rows]),
                Column("rate", "GFLOP/s", align="right", format="{:.0f}".format),
                Column("share", "of the peak", align="right", share=True),
            ],
            figures,
            title=f"The separable layers, threads: {threads}",
            note=f"The last two columns are convsmith's; the peak: {limit['gflops']} GFLOP/s "
            f"({', '.join(f'{name} {rate}' for name, rate in limit['rates'].items())}). "
            + cells.reasons(missing),
        ),
    ]
