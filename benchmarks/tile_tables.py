"""The tables of `benchmarks.tile`, from its plain result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.segmenter import CLASSES
from convsmith.report import Column, Table, count, number

__all__ = ["tables"]


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """The tables of the parts that were measured."""
    makers: dict[str, Callable[[Any], Table]] = {
        "draws": _draws,
        "published": _published,
        "windows": _windows,
        "speed": _speed,
        "large": _large,
        "workers": _workers,
        "many": _many,
    }
    return [make(result[part]) for part, make in makers.items() if part in result]


def _draws(bits: dict[str, Any]) -> Table:
    rows = [
        ("compiled", f"{count(bits['compiled'])} of {count(bits['values'])} values differ"),
        ("torch", f"differs by {bits['torch']:.1e} of the largest value at most"),
    ]
    return _pairs(f"{bits['draws']} random sizes and tiles beside the whole image", rows)


def _published(rows: list[dict[str, Any]]) -> Table:
    shown = []
    for row in rows:
        if row["missing"]:
            shown.append((row["network"], row["missing"], "", ""))
            continue
        compiled = row["why"] or f"{count(row['compiled'])} of {count(row['values'])} differ"
        shown.append((row["network"], row["verdict"], f"{row['torch']:.1e}", compiled))
    return Table(
        [
            Column("network", "network"),
            Column("verdict", "tiles"),
            Column("torch", "torch differs by", align="right"),
            Column("compiled", "compiled values", wrap=True),
        ],
        shown,
        title="Tiles beside the whole image; torch as a share of the largest value",
    )


def _windows(worst: float | None) -> Table:
    text = "MONAI is not installed" if worst is None else f"differ by {worst:.1e} at most"
    return _pairs("mode='window' beside MONAI", [("values", text)])


def _speed(rows: list[dict[str, Any]]) -> Table:
    return Table(
        [
            Column("how", "how"),
            Column("rate", "Mpixel/s", align="right", format=number),
            Column("seconds", "s, median", align="right", format=number),
            Column("low", "quarter", align="right", format=number),
            Column("high", "three quarters", align="right", format=number),
            Column("runs", "runs", align="right"),
        ],
        [tuple(row[k] for k in ("how", "rate", "seconds", "low", "high", "runs")) for row in rows],
        title=f"{rows[0]['side']}² pixels, {CLASSES} classes: from memory to a map of classes",
        note="Calls take turns. Tiles are set up in each call: the network is captured again.",
    )


def _large(rows: list[dict[str, Any]]) -> Table:
    shown = []
    for row in rows:
        calls = [("", row["seconds"])]
        if row["how"] == "whole":
            calls = [("the network alone", row["call"]), ("to a map of classes", row["seconds"])]
        for what, seconds in calls:
            tile = "×".join(map(str, row.get("tile", ()))) or what
            rate = row["pixels"] / seconds / 1e6
            shown.append((row["side"], row["how"], tile, seconds, rate, round(row["peak"] / 1e6)))
    return Table(
        [
            Column("side", "side", align="right", format=count),
            Column("how", "how"),
            Column("tile", "tile"),
            Column("seconds", "s", align="right", format=number),
            Column("rate", "Mpixel/s", align="right", format=number),
            Column("peak", "the process held, MB", align="right", format=count),
        ],
        shown,
        title="Each in a process of its own; tiles from Zarr to Zarr, set-up included",
    )


def _workers(figures: dict[str, Any]) -> Table:
    rows = [
        ("one", f"{figures['one']:.1f} s"),
        ("two", f"{figures['two']:.1f} s: {figures['ratio']:.2f} times as fast"),
    ]
    return _pairs(f"Local workers of one thread, {figures['side']}² pixels, compiled", rows)


def _many(figures: dict[str, Any]) -> Table:
    rows = [
        ("tiles", count(figures["tiles"])),
        ("seconds", f"{figures['seconds']:.0f}"),
        ("held at the end", f"{figures['held'] / 1e6:.0f} MB"),
        (f"grown since tile {count(figures['from'])}", f"{figures['grown'] / 1e6:.1f} MB"),
    ]
    return _pairs("The process with scheduler and client", rows)


def _pairs(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    return Table([Column("what", "what"), Column("value", "")], rows, title=title)
