"""Tiles beside the whole image and MONAI's sliding window: bits, pixels per second, memory.

What can be measured apart can be asked for apart: `--only speed large`. MONAI is not among the
extras, for it is used here alone: `pip install monai` adds its rows. torchvision and timm add
published networks.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.segmenter import stored_image
from benchmarks.tile_alone import alone
from benchmarks.tile_equality import drawn, published, windows
from benchmarks.tile_peers import PEER, speeds
from benchmarks.tile_tables import tables
from benchmarks.tile_workers import many_tiles, two_workers
from convsmith.cli.output import talk

__all__ = ["options", "run", "tables"]

TOLERANCE = 1e-5
"""How far torch's tiles may lie from the whole image, as a share of its largest value."""

PEAK, ALIKE = 1.5e9, 1.1
"""Bytes that a process may hold, and how many times those for the smallest image."""

TIMES = 3.0
"""How many times as fast as MONAI."""

SHARED, WORKED = 1.7, 8192
"""How many times as fast two workers are as one, and the side of their image: what is set up anew
for each run takes seconds."""

LINEAR = 1.2
"""How far the time of a further pixel may differ between sizes."""

GROWTH = 50e6
"""Bytes by which a scheduler may grow."""


def options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts"
    )
    parser.add_argument(
        "--size", type=int, default=2048, help="side of what is timed beside peers (%(default)s)"
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[1008, 2000, 5008, 10000, 20000],
        help="sides of large images, multiples of 16",
    )  # fmt: skip
    parser.add_argument(
        "--whole", type=int, nargs="*", default=[8192], help="sides that are computed whole"
    )
    parser.add_argument("--memory", default="800MB", help="for the tensors of a run (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="threads of tiles (%(default)s)")
    parser.add_argument("--draws", type=int, default=100, help="random sizes and tiles")
    parser.add_argument(
        "--seconds", type=float, default=60, help="for what is timed in turn (%(default)s)"
    )
    parser.add_argument("--tiles", type=int, default=40000, help="of one run on a cluster")
    parser.add_argument("--folder", help="where images are kept for the next run")


def run(options: Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"parts": []}
    missed: list[str] = []
    with ExitStack() as stack:
        folder = options.folder or stack.enter_context(TemporaryDirectory())
        for part in PARTS:
            if part in options.only:
                talk(f"{part} …")
                found = PARTS[part](options, Path(folder))
                missed += found.pop("missed")
                result |= found
                result["parts"].append({"part": part})
    return result | {"missed": missed + _across(result)}


def _draws(options: Namespace, folder: Path) -> dict[str, Any]:
    bits = drawn(options.draws)
    missed = []
    if bits["compiled"]:
        missed.append(f"{bits['compiled']} values of compiled tiles differ from the whole image")
    if bits["torch"] > TOLERANCE:
        missed.append(f"torch tiles differ by {bits['torch']:.1e} of the largest value")
    return {"draws": bits, "missed": missed}


def _published(options: Namespace, folder: Path) -> dict[str, Any]:
    rows = published()
    missed = []
    for row in (row for row in rows if not row["missing"]):
        if row["torch"] > TOLERANCE:
            missed.append(f"{row['network']}: torch tiles differ by {row['torch']:.1e}")
        if row["compiled"]:
            missed.append(f"{row['network']}: {row['compiled']} values of compiled tiles differ")
    return {"published": rows, "missed": missed}


def _windows(options: Namespace, folder: Path) -> dict[str, Any]:
    worst = windows()
    wrong = worst is not None and worst > TOLERANCE
    return {
        "windows": worst,
        "missed": [f"sliding windows differ from MONAI's by {worst:.1e}"] if wrong else [],
    }


def _speed(options: Namespace, folder: Path) -> dict[str, Any]:
    rows = speeds(options.size, options.memory, options.seconds)
    return {"speed": rows, "missed": []}


def _large(options: Namespace, folder: Path) -> dict[str, Any]:
    rows = []
    for side in options.sides:
        stored_image(folder, side)  # its time is not that of the run
        talk(f"{side}², tiled …")
        rows.append(alone("tiled", side, options.memory, options.workers, folder))
    for side in options.whole:
        talk(f"{side}², whole …")
        rows.append(alone("whole", side, options.memory, 1, folder))
    return {"large": rows, "missed": _missed_large([r for r in rows if r["how"] == "tiled"])}


def _missed_large(tiled: list[dict[str, Any]]) -> list[str]:
    missed = [
        f"{row['side']}²: {row['peak'] / 1e9:.2f} GB, goal {PEAK / 1e9:.1f} GB"
        for row in tiled
        if row["peak"] > PEAK
    ]
    peaks = {row["side"]: row["peak"] for row in tiled if row["side"] >= 2000}
    if peaks and peaks[max(peaks)] > ALIKE * peaks[min(peaks)]:
        ratio = peaks[max(peaks)] / peaks[min(peaks)]
        missed.append(f"memory at {max(peaks)}² is {ratio:.2f} of that at {min(peaks)}²")
    further = [
        (b["seconds"] - a["seconds"]) / (b["pixels"] - a["pixels"]) for a, b in pairwise(tiled)
    ]
    if further and max(further) > LINEAR * min(further):
        missed.append(f"a further pixel takes up to {max(further) / min(further):.2f} of another")
    return missed


def _workers(options: Namespace, folder: Path) -> dict[str, Any]:
    figures = two_workers(WORKED, folder)
    ratio = figures["ratio"]
    return {
        "workers": figures,
        "missed": [f"two workers are {ratio:.2f} times as fast as one, goal {SHARED}"]
        if ratio < SHARED
        else [],
    }


def _tiles(options: Namespace, folder: Path) -> dict[str, Any]:
    figures = many_tiles(options.tiles, folder)
    grown = figures["grown"]
    return {
        "many": figures,
        "missed": [f"the scheduler grew by {grown / 1e6:.0f} MB, goal {GROWTH / 1e6:.0f} MB"]
        if grown > GROWTH
        else [],
    }


def _across(result: dict[str, Any]) -> list[str]:
    """The goals that compare what two parts have measured."""
    large = {"tiled": [], "whole": []} | {
        how: [row for row in result.get("large", ()) if row["how"] == how]
        for how in ("tiled", "whole")
    }
    missed = []
    if large["tiled"] and large["whole"]:
        tiled = max(large["tiled"], key=lambda row: int(row["side"]))
        whole = max(large["whole"], key=lambda row: int(row["side"]))
        ratio = tiled["pixels"] / tiled["seconds"] * whole["call"] / whole["pixels"]
        if ratio < 1:
            missed.append(
                f"{tiled['side']}² in tiles: {ratio:.2f} of the rate of the network alone on "
                f"{whole['side']}²"
            )
    rates = {row["how"]: row["rate"] for row in result.get("speed", ())}
    peer = next((rate for how, rate in rates.items() if how.startswith(PEER)), None)
    if peer is not None:
        ours = rates["tiled, compiled"]
        if large["tiled"]:  # where set-up hardly counts
            ours = max(row["pixels"] / row["seconds"] / 1e6 for row in large["tiled"])
        if ours < TIMES * peer:
            missed.append(f"tiles are {ours / peer:.1f} times as fast as {PEER}")
    return missed


PARTS: dict[str, Callable[[Namespace, Path], dict[str, Any]]] = {
    "draws": _draws,
    "published": _published,
    "windows": _windows,
    "speed": _speed,
    "large": _large,
    "workers": _workers,
    "tiles": _tiles,
}
