"""Tiles on local workers of Dask: two beside one, and the scheduler's memory over many tiles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

import convsmith as cs
from benchmarks.footprint import status
from benchmarks.segmenter import segmenter, stored_image
from convsmith.tiling.cluster import connect

__all__ = ["many_tiles", "two_workers"]

ROUNDS = 3
SETTLED = 0.1
"""The share of the tiles after which a scheduler holds what it needs for any number of them."""
TILE = 16


def two_workers(side: int, folder: Path) -> dict[str, Any]:
    """Seconds of one and of two processes of one thread each, in turn."""
    source, target = stored_image(folder, side), folder / "workers.zarr"
    tiled = cs.tile(segmenter(), (1, 3, 8, 8), tile=512, backend="compiled")
    times: dict[int, list[float]] = {1: [], 2: []}
    with connect("local", 1) as one, connect("local", 2) as two:
        for turn in range(ROUNDS + 1):
            for workers, client in ((1, one), (2, two)):
                begin = perf_counter()
                tiled.run(str(source), str(target), reduce="argmax", client=client, force=True)
                if turn:  # at first each process reads the network and compiles it
                    times[workers].append(perf_counter() - begin)
    rmtree(target)
    rmtree(f"{target}.tiling")
    seconds = {workers: median(each) for workers, each in times.items()}
    ratio = seconds[1] / seconds[2]
    return {"side": side, "one": seconds[1], "two": seconds[2], "ratio": ratio, "rounds": ROUNDS}


def many_tiles(tiles: int, folder: Path) -> dict[str, Any]:
    """How much a process with scheduler and client grows over a run of so many tiles."""
    words = [sys.executable, "-m", "benchmarks.tile_workers", str(tiles), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _many(tiles: int, folder: Path) -> dict[str, Any]:
    side = TILE * round(tiles**0.5)
    np.save(folder / "grid.npy", np.zeros((side, side), np.uint8))
    torch.manual_seed(0)
    tiled = cs.tile(nn.Conv2d(1, 1, 3, padding=1).eval(), (1, 1, 8, 8), tile=TILE)
    held: dict[int, int] = {}

    def watch(what: str, done: int, of: int) -> None:
        if done in (round(SETTLED * of), of):
            held[done] = status("VmRSS")

    begin = perf_counter()
    with connect("local", 2) as client:
        outcome = tiled.run(
            str(folder / "grid.npy"), str(folder / "grid.zarr"), reduce="threshold:0",
            client=client, progress=watch,
        )  # fmt: skip
    seconds = perf_counter() - begin
    rmtree(folder / "grid.zarr")
    rmtree(folder / "grid.zarr.tiling")
    return {
        "tiles": outcome.units,
        "seconds": seconds,
        "held": held[outcome.units],
        "grown": held[outcome.units] - held[min(held)],
        "from": min(held),
    }


if __name__ == "__main__":
    print(json.dumps(_many(int(sys.argv[1]), Path(sys.argv[2]))))
