"""One run of the segmenter in a process of its own, so that its memory is its own.

`python -m benchmarks.tile_alone HOW SIDE MEMORY WORKERS FOLDER` prints JSON: seconds, and the most
bytes that the process held. HOW is `tiled` (Zarr to Zarr, argmax) or `whole` (from memory to
memory).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter
from typing import Any

import torch

import convsmith as cs
from benchmarks.footprint import status
from benchmarks.segmenter import photograph, segmenter, stored_image

__all__ = ["alone"]


def alone(how: str, side: int, memory: str, workers: int, folder: Path) -> dict[str, Any]:
    """The figures of a process that does nothing else."""
    words = [how, str(side), memory, str(workers), str(folder)]
    program = [sys.executable, "-m", "benchmarks.tile_alone"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{how} at {side}: {done.stderr.strip().splitlines()[-1:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"how": how, "side": side, "workers": workers, "pixels": side**2, **figures}


def _tiled(side: int, memory: str, workers: int, folder: Path) -> dict[str, Any]:
    source, target = stored_image(folder, side), folder / f"classes-{side}.zarr"
    network = segmenter()
    begin = perf_counter()
    tiled = cs.tile(network, (1, 3, 8, 8), memory=memory, backend="compiled")
    outcome = tiled.run(str(source), str(target), reduce="argmax", force=True, workers=workers)
    seconds = perf_counter() - begin
    rmtree(target)
    rmtree(f"{target}.tiling")
    plan = outcome.plan
    return {
        "seconds": seconds,
        "tile": plan.tile,
        "tiles": plan.tiles,
        "recompute": plan.recompute,
        "planned": plan.peak_bytes,
    }


def _whole(side: int, memory: str, workers: int, folder: Path) -> dict[str, Any]:
    """The network on all of the image at once: the call alone, and with all that comes around."""
    network, image = segmenter(), photograph(side)
    fast = cs.compile(network, torch.empty(1, 3, side, side))
    calls, runs = [], []
    for _ in range(3):
        begin = perf_counter()
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        middle = perf_counter()
        scores = fast(tensor)
        calls.append(perf_counter() - middle)
        scores.argmax(1).to(torch.uint8)
        runs.append(perf_counter() - begin)
        del tensor, scores
    # The first call makes the program.
    return {"seconds": median(runs[1:]), "call": median(calls[1:])}


if __name__ == "__main__":
    how, side, memory, workers, folder = sys.argv[1:]
    found = {"tiled": _tiled, "whole": _whole}[how](int(side), memory, int(workers), Path(folder))
    print(json.dumps(found | {"peak": status("VmHWM")}))
