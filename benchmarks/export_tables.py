"""Tables of what `benchmarks.export` measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.emulated import MACHINES, PEERS
from convsmith.report import Column, Table, milliseconds

__all__ = ["tables"]


def _number(key: str, title: str, format: Any = "{:,}".format) -> Column:
    return Column(key, title, align="right", format=format)


_REASON = Column("reason", "not measured", wrap=True)
_ERROR = _number("error", "from float64", "{:.1e}".format)


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """Start-up, libraries beside `compile`, emulated ones, sizes."""
    return [_started(result), _beside(result), *_emulated(result), _sizes(result)]


def _started(result: dict[str, Any]) -> Table:
    columns = (
        Column("what", "process"),
        _number("median_ms", "median", milliseconds),
        _number("low_ms", "lower quartile", milliseconds),
        _number("high_ms", "upper quartile", milliseconds),
        _number("beyond_ms", "beyond", milliseconds),
        Column("beyond", "what"),
    )
    return Table(
        columns,
        _picked(columns, result["rows"]),
        title="From the start of a process to MobileNetV2's first answer",
        note=f"{result['rows'][0]['runs']} processes of each, in turn.",
    )


def _beside(result: dict[str, Any]) -> Table:
    columns = (
        Column("network", "network"),
        _number("library_ms", "C library", milliseconds),
        _number("compile_ms", "compile", milliseconds),
        _number("times", "times compile", "{:.3f}".format),
        _ERROR,
        _number("code", "bytes of code"),
        _number("arena", "arena"),
        _REASON,
    )
    rows = _picked(columns, result["beside"])
    return Table(columns, rows, title="A C library beside compile, in turn in one process")


def _emulated(result: dict[str, Any]) -> list[Table]:
    made = []
    for machine in MACHINES:
        peer, advice = PEERS[machine]
        rows = [row for row in result["emulated"] if row["machine"] == machine]
        columns = (
            Column("network", "network"),
            _ERROR,
            _number("eager", "eager's", "{:.1e}".format),
            _number("ms", "a run", milliseconds),
            _number("peer_ms", peer, milliseconds),
            _number("times", f"of {peer}'s", "{:.2f}".format),
            _REASON,
        )
        for row in rows:
            if "peer_ms" in row:
                row["times"] = row["ms"] / row["peer_ms"]
        reasons = sorted({row["peer_reason"] for row in rows if "peer_reason" in row})
        if not any("peer_ms" in row for row in rows):
            reasons = reasons or [advice]
        note = f"{peer}: {'; '.join(reasons)}." if reasons else None
        where = "QEMU" if machine.startswith("aarch64") else "Node"
        title = f"{machine}, in {where}"
        made.append(Table(columns, _picked(columns, rows), title=title, note=note))
    return made


def _sizes(result: dict[str, Any]) -> Table:
    columns = (Column("what", "library"), _number("bytes", "bytes without weights"), _REASON)
    title = "What a program carries to run MobileNetV2"
    return Table(columns, _picked(columns, result["sizes"]), title=title)


def _picked(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = [column.key for column in columns]
    return [{key: row[key] for key in keys if key in row} for row in rows]
