"""The tables of `benchmarks.networks`, from its plain result."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean
from typing import Any

from benchmarks import cell as cells
from benchmarks.runtimes import CONVSMITH, RUNTIMES
from convsmith.report import Column, Table, bytes_, milliseconds

__all__ = ["common", "tables"]


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """Times, their summary, errors and memory."""
    return [*common(result), _memory(result)]


def common(result: dict[str, Any]) -> Sequence[Table]:
    """Times, their summary and errors."""
    return [_times(result), _summary(result), _accuracy(result)]


def _cell(row: dict[str, Any]) -> str:
    return f"{row['batch']}×{row['size']}²"


def _times(result: dict[str, Any]) -> Table:
    rows = result["rows"]
    shown = [
        {
            "network": row["network"],
            "cell": _cell(row),
            "times": row["times_best_peer"],
            "share": row.get("share"),
            "last": row["times_channels_last"],
            **{name: time["median_ms"] for name, time in row["times"].items()},
        }
        for row in rows
    ]
    why = cells.reasons({f"{row['network']} {_cell(row)}": row for row in rows})
    return Table(
        [
            Column("network", "network"),
            Column("cell", "images"),
            *cells.columns(rows),
            Column("times", "× best peer", align="right", format="{:.2f}".format),
            Column("last", "× channels_last", align="right", format="{:.1f}".format),
            Column("share", "of the peak", align="right", share=True),
        ],
        shown,
        title=f"Networks, threads: {result['limits']['threads']}",
        note="Medians. Behind them the times of the best fp32 peer and of channels_last, as "
        "multiples of convsmith's, and what convsmith reaches of the measured peak, by the "
        f"network's multiply-adds. ncnn takes a batch image by image. {why}",
    )


def _summary(result: dict[str, Any]) -> Table:
    """One row per network: the geometric mean over its cells; the last row is over all."""
    rows = [row for row in result["rows"] if row["times_best_peer"] is not None]
    names = list(dict.fromkeys(row["network"] for row in rows))
    groups = {name: [row for row in rows if row["network"] == name] for name in names}
    columns = [
        Column("network", "network"),
        Column("mean", "geometric mean", align="right", format="{:.2f}×".format),
        Column("least", "least", align="right", format="{:.2f}×".format),
        Column("most", "most", align="right", format="{:.2f}×".format),
        Column("won", "cells won", align="right"),
        Column("peer", "best peers"),
    ]
    return Table(
        columns,
        [_sum(name, group) for name, group in groups.items()],
        footer=_sum("all", rows) if rows else None,
        title=f"Against the best fp32 peer, threads: {result['limits']['threads']}",
        note="Goal: won, or within 3 %, in every cell.",
    )


def _sum(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratios = [row["times_best_peer"] for row in rows]
    peers = [peer[0] for row in rows if (peer := cells.best_peer(row))]
    counts = {peer: peers.count(peer) for peer in sorted(set(peers), key=peers.count, reverse=True)}
    return {
        "network": name,
        "mean": geometric_mean(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "won": f"{sum(ratio > 1 for ratio in ratios)} of {len(ratios)}",
        "peer": ", ".join(f"{peer} {count}" for peer, count in counts.items()),
    }


def _accuracy(result: dict[str, Any]) -> Table:
    rows = result["accuracy"]
    names = [r.name for r in RUNTIMES if any(r.name in row["errors"] for row in rows)]
    return Table(
        [
            Column("network", "network"),
            *(Column(name, name, align="right", format="{:.1e}".format) for name in names),
        ],
        [{"network": row["network"], **row["errors"]} for row in rows],
        title="Relative error against float64 at 224²",
        note="The norm of the difference divided by the norm of the result. "
        "Goal: convsmith at most twice eager.",
    )


def _memory(result: dict[str, Any]) -> Table:
    found = result["memory"]
    size = found["size"]
    theirs = found["ONNX Runtime"]
    rows = [
        (name, value, value / theirs if isinstance(theirs, int) else None)
        if isinstance(value, int)
        else (name, value, None)
        for name in (CONVSMITH, "ONNX Runtime")
        for value in [found[name]]
    ]
    ms = {
        name: next(
            (
                time["median_ms"]
                for row in result["rows"]
                if (row["network"], row["size"], row["batch"]) == ("MobileNetV2", size, 1)
                for key, time in row["times"].items()
                if key == name
            ),
            None,
        )
        for name, *_ in rows
    }
    return Table(
        [
            Column("runtime", "runtime"),
            Column("bytes", "memory of the call", align="right", format=bytes_),
            Column("share", "of ONNX Runtime's", align="right", share=True),
            Column("ms", "time", align="right", format=milliseconds),
        ],
        [(*row, ms[row[0]]) for row in rows],
        title=f"Peak memory of MobileNetV2 at {size}²",
        note="The peak resident size of a process during two calls, minus its size before the "
        "first call; both sizes include the weights and the input. Goal: at most 5 %.",
    )
