"""The same call of `lighten`, again and again with no times kept: how near to what was asked."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.garments import FOLDER
from benchmarks.lighten_cases import cases, paces
from convsmith.cli.output import steps
from convsmith.report import Column, Table, milliseconds, percent
from convsmith.rewrite import Run, Timing, Tuning, lighten

__all__ = ["missed", "options", "run", "tables"]

ASKED, PROMISED, SHARE = 0.05, 0.10, 0.9
"""How far the speed-up may be from what was asked, and the time from what was predicted, in this
share of the runs."""

SPREAD = 0.002
"""By how much the accuracies may differ."""


def options(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", default=str(FOLDER), help="the folder of Fashion-MNIST")
    parser.add_argument("--folder", default="build/lighten", help="where trained networks are kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--speedup", type=float, default=2.0)
    parser.add_argument("--only", default="resnet", help="only networks whose name contains this")
    parser.set_defaults(images=0)


def run(options: Namespace) -> dict[str, Any]:
    """Lighten each network without training, as often as asked, measuring everything anew."""
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=UserWarning)
    rows = []
    for case in cases(options):
        model = case.original(Path(options.folder), 0)
        shown = case.calibrating(0)
        for number in range(options.runs):
            with steps() as progress:
                light = lighten(
                    model, list(torch.split(shown, 125)), options.speedup,
                    timing=Timing(batch=case.batch, remeasure=True),
                    tuning=Tuning(reconstruct=False), run=Run(progress=progress),
                )  # fmt: skip
            report = light.report
            before, after = paces(report)
            rows.append(
                {
                    "network": case.name,
                    "run": number + 1,
                    "predicted": report.predicted_ms,
                    "ms": after,
                    "speedup": before / after,
                    "score": case.score(light.model),
                    "forms": sorted(f"{x.path}: {x.form}, {x.rank}" for x in report.layers),
                }
            )
    return {
        "rows": rows,
        "missed": missed(rows, options.speedup),
        "threads": options.threads,
        "target": options.speedup,
    }


def missed(rows: Sequence[Mapping[str, Any]], speedup: float) -> list[str]:
    """A line for each goal that the runs on a network do not reach."""
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        of = [row for row in rows if row["network"] == network]
        near = {
            f"within {ASKED:.0%} of {speedup:g}×": [
                abs(row["speedup"] / speedup - 1) <= ASKED for row in of
            ],
            f"within {PROMISED:.0%} of what was predicted": [
                abs(row["ms"] / row["predicted"] - 1) <= PROMISED for row in of
            ],
        }
        for what, met in near.items():
            if sum(met) < SHARE * len(met):
                lines.append(f"{network}: {sum(met)} of {len(met)} runs {what}")
        scores = [row["score"] for row in of]
        if max(scores) - min(scores) > SPREAD:
            apart = 100 * (max(scores) - min(scores))
            lines.append(
                f"{network}: accuracies {apart:.2f} points apart instead of {100 * SPREAD:g}"
            )
    return lines


def tables(result: Mapping[str, Any]) -> list[Table]:
    """A row for each run."""
    columns = [
        Column("network", "network"),
        Column("run", "run", align="right"),
        Column("predicted", "predicted", align="right", format=milliseconds),
        Column("ms", "measured", align="right", format=milliseconds),
        Column("speedup", "speed-up", align="right", format="{:.2f}×".format),
        Column("score", "accuracy or mIoU", align="right", format=percent),
        Column("alike", "runs with the same forms", align="right"),
    ]
    made = [(row["network"], row["forms"]) for row in result["rows"]]
    rows = [
        tuple((dict(row) | {"alike": made.count(key)})[column.key] for column in columns)
        for key, row in zip(made, result["rows"], strict=True)
    ]
    note = (
        f"{result['threads']} thread(s); asked for {result['target']:g}× each time, without "
        "training, nothing reconstructed, no times kept from earlier runs"
    )
    return [Table(columns, rows, title="The same call, again and again", note=note)]
