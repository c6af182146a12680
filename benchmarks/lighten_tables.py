"""The tables of `benchmarks.lighten`, from its plain result, and which goals were missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.lighten_cases import WAYS, Goal
from convsmith.report import Column, Table, milliseconds, percent

__all__ = ["missed", "tables"]

NEAR = 0.10
"""How far a predicted time may be from the measured one."""
_RATIO = 0.95

Rows = Sequence[Mapping[str, Any]]


def missed(rows: Rows, promised: Rows, goals: Mapping[str, Goal]) -> list[str]:
    """A line for each goal that was not reached, by the mean over the seeds."""
    lines = []
    for way in WAYS:
        for network, goal in goals.items():
            of = [r for r in rows if r["network"] == network and r["what"] == way.name]
            if not of:
                continue
            speedup, drop = (mean(r[key] for r in of) for key in ("speedup", "drop"))
            told = []
            if speedup < _RATIO * way.speedup:
                told.append(f"{speedup:.2f}× instead of {way.speedup:g}×")
            if drop > goal.of(way):
                told.append(f"{100 * drop:.2f} points lost instead of {100 * goal.of(way):g}")
            if told:
                lines.append(f"{network}, {way.name}: {'; '.join(told)}")
    return lines + [
        f"{row['network']}, seed {row['seed']}, {row['target']}: {row['predicted']:.3f} ms "
        f"predicted, {row['ms']:.3f} measured"
        for row in promised
        if abs(row["ms"] / row["predicted"] - 1) > NEAR
    ]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Networks by their mean over the seeds, each seed, and predictions beside measurements."""
    note = (
        f"{result['threads']} thread(s), times of a batch; seeds "
        f"{', '.join(map(str, result['seeds']))}: in brackets the least and the most; "
        f"fine-tuning: {result['epochs']} epochs of {result['images']:,} images "
        "(a tenth of them scenes for the U-Net), calibration: 500 images (100 scenes); speed-up: "
        "the original compiled against the lightened compiled; from PyTorch: the original in "
        "PyTorch against it"
    )
    return [_networks(result["rows"], note), _promised(result["promised"])]


def _networks(rows: Rows, note: str) -> Table:
    columns = [
        Column("network", "network"),
        Column("what", "what"),
        Column("params", "parameters", align="right"),
        Column("score", "accuracy or mIoU", align="right"),
        Column("drop", "points lost", align="right"),
        Column("batch", "images", align="right"),
        Column("ms", "compiled", align="right"),
        Column("speedup", "speed-up", align="right"),
        Column("from_eager", "from PyTorch", align="right"),
    ]
    formats: dict[str, Callable[[Any], str]] = {
        "params": lambda number: f"{number:,.0f}",
        "score": percent,
        "drop": lambda share: f"{100 * share:.2f}",
        "ms": milliseconds,
        "speedup": "{:.2f}×".format,
        "from_eager": "{:.1f}×".format,
    }
    lines = []
    for network, what in dict.fromkeys((row["network"], row["what"]) for row in rows):
        of = [row for row in rows if (row["network"], row["what"]) == (network, what)]
        cells = {key: _spread([row[key] for row in of], show) for key, show in formats.items()}
        cells |= {"network": network, "what": what, "batch": of[0]["batch"]}
        lines.append(tuple(cells[column.key] for column in columns))
    return Table(columns, lines, title="Lightened networks", note=note)


def _spread(values: Iterable[float], show: Callable[[Any], str]) -> str:
    """The mean, and between what it lies where there are several."""
    found = sorted(values)
    least, most = show(found[0]), show(found[-1])
    return show(mean(found)) + (f" ({least} – {most})" if least != most else "")


def _promised(rows: Rows) -> Table:
    columns = [
        Column("network", "network"),
        Column("seed", "seed", align="right"),
        Column("target", "target", align="right"),
        Column("predicted", "predicted", align="right", format=milliseconds),
        Column("ms", "measured", align="right", format=milliseconds),
        Column("speedup", "speed-up", align="right", format="{:.2f}×".format),
        Column("forms", "forms"),
    ]
    lines = [tuple(row[column.key] for column in columns) for row in rows]
    return Table(columns, lines, title="Predicted and measured")
