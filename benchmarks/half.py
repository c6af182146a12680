"""Networks in bf16 against float32 and against OpenVINO's bf16: goals, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import geometric_mean
from typing import Any

from benchmarks import cell as cells
from benchmarks.runtimes import CONVSMITH
from convsmith.report import Column, Table, bytes_, milliseconds, percent

__all__ = ["OURS", "THEIRS", "missed", "missed_memory", "tables"]

OURS, THEIRS = f"{CONVSMITH} bf16", "OpenVINO bf16"
OWN, MEAN, BEST = 1.8, 1.2, 2.0
MEMORY = 0.6
_PEER = "the best fp32 peer"


def _ratios(row: Mapping[str, Any]) -> dict[str, float]:
    """The times of others as multiples of ours in bf16; nothing where one of both is missing."""
    ours = cells.median(row, OURS)
    if ours is None:
        return {}
    best = cells.best_peer(row)
    others = {
        CONVSMITH: cells.median(row, CONVSMITH),
        THEIRS: cells.median(row, THEIRS),
        _PEER: best and best[1],
    }
    return {name: ms / ours for name, ms in others.items() if ms is not None}


def missed(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The goals of bf16 that a run has not reached; a cell that was not measured is one."""
    found: dict[str, list[float]] = {CONVSMITH: [], THEIRS: [], _PEER: []}
    for row in rows:
        cell, ratios = f"{row['network']} {row['batch']}×{row['size']}²", _ratios(row)
        for name in found:
            if name in ratios:
                found[name].append(ratios[name])
            else:
                why = row["reasons"].get(OURS) or row["reasons"].get(name) or "not run"
                yield f"{cell} beside {name}: {why}"
        if ratios.get(THEIRS, 2) <= 1:
            ours, theirs = (milliseconds(row["times"][n]["median_ms"]) for n in (OURS, THEIRS))
            yield f"{cell}: {ours}, {THEIRS} {theirs}"
    for name, goal in ((CONVSMITH, OWN), (THEIRS, MEAN), (_PEER, BEST)):
        mean = geometric_mean(found[name]) if found[name] else 0.0
        if mean < goal:
            yield f"geometric mean {mean:.2f}× {name}, not {goal}×"


def missed_memory(memory: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The networks whose call takes too much memory, or of which that is not known."""
    for network, taken in memory.items():
        share = _share(taken)
        if share is None:
            yield f"memory of {network}: {taken}"
        elif share > MEMORY:
            yield f"memory of {network}: {percent(share)} of float32's, not {percent(MEMORY, 0)}"
    if not memory:
        yield "memory: not measured"


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Each cell beside float32 and OpenVINO's bf16; the memory of a call."""
    return [_times(result["rows"]), _memory(result["memory"])]


def _times(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = [
        {"network": row["network"], "cell": f"{row['batch']}×{row['size']}²", **_ratios(row)}
        for row in rows
    ]
    means: dict[str, Any] = {"network": "geometric mean"}
    for name in (CONVSMITH, THEIRS, _PEER):
        if found := [row[name] for row in shown if name in row]:
            means[name] = geometric_mean(found)
    return Table(
        [
            Column("network", "network"),
            Column("cell", "images"),
            *(
                Column(name, f"× {title}", align="right", format="{:.2f}".format)
                for name, title in ((CONVSMITH, "our float32"), (THEIRS, THEIRS), (_PEER, _PEER))
            ),
        ],
        shown,
        footer=means,
        title="convsmith in bf16",
        note=f"Times of others as multiples of ours. Goals: {OWN}× our float32, {MEAN}× {THEIRS} "
        f"and ahead of it in every cell, {BEST}× {_PEER}.",
    )


def _memory(memory: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        [
            Column("network", "network"),
            Column("float32", "float32", align="right", format=bytes_),
            Column("bf16", "bf16", align="right", format=bytes_),
            Column("share", "of float32's", align="right", share=True),
        ],
        [
            {
                "network": network,
                "float32": taken[CONVSMITH],
                "bf16": taken[OURS],
                "share": _share(taken),
            }
            for network, taken in memory.items()
        ],
        title="Memory of a call",
        note="Of the maps that a call keeps, in rows as far as these are needed at once. "
        f"Goal: at most {percent(MEMORY, 0)} of float32's.",
    )


def _share(taken: Mapping[str, Any]) -> float | None:
    ours, whole = taken.get(OURS), taken.get(CONVSMITH)
    return ours / whole if isinstance(ours, int) and isinstance(whole, int) else None
