"""Tiles beside the whole image and beside MONAI's sliding window: bits, pixels per second, memory.

MONAI is not among the extras, for it is used here alone: `pip install monai` adds its column.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convsmith as cs
from benchmarks.mobile import mobilenetv2, settled
from convsmith.report import Column, Table, count, number

CLASSES = 21


class Segmenter(nn.Module):
    """MobileNetV2 to a stride of 16, a small head, and bilinear interpolation back."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(mobilenetv2().children())[:14])
        with torch.no_grad():
            channels = self.body(torch.zeros(1, 3, 64, 64)).shape[1]
        self.head = nn.Sequential(nn.Conv2d(channels, 64, 1), nn.ReLU(), nn.Conv2d(64, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes at each pixel."""
        return F.interpolate(self.head(self.body(x)), x.shape[2:], mode="bilinear")


def options(parser: ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--size", type=int, default=2048, help="side of the image that is timed")
    parser.add_argument("--large", type=int, default=8192, help="side of the large image")
    parser.add_argument("--draws", type=int, default=100, help="random sizes and tiles")
    parser.add_argument("--memory", default="800MB", help="for the tensors of a run")


def run(options: Namespace) -> dict[str, Any]:
    """Measure."""
    torch.manual_seed(0)
    network = settled(Segmenter()).eval()
    bits = _bits(network, options.draws)
    rows = _rates(network, options.size, options.memory)
    memory = [_memory(side, options.memory) for side in (2048, options.large)]
    missed = []
    if bits["compiled"]:
        missed.append(f"{bits['compiled']} values of compiled tiles differ from the whole image")
    if bits["torch"] > 1e-5:
        missed.append(f"torch tiles differ by {bits['torch']:.1e} of the largest value")
    rates = {row["how"]: row["rate"] for row in rows}
    if rates["tiled, compiled"] < rates["whole, compiled"]:
        missed.append("compiled tiles are slower than the whole image in compiled kernels")
    if "MONAI" in rates and rates["tiled, compiled"] < 3 * rates["MONAI"]:
        missed.append("compiled tiles are less than 3 times as fast as MONAI's sliding window")
    if (window := _monai_difference()) is not None and window > 1e-5:
        missed.append(f"sliding windows differ from MONAI's by {window:.1e}")
    if memory[1]["peak"] > 1.1 * memory[0]["peak"]:
        missed.append("the peak of memory grows with the image")
    return {"rows": rows, "memory": memory, "bits": bits, "missed": missed}


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """The tables."""
    bits = result["bits"]
    note = (
        f"{bits['draws']} draws of size and tile: {bits['compiled']} of {count(bits['values'])} "
        f"values differ in compiled kernels; torch differs by {bits['torch']:.1e} of the largest"
    )
    rates = Table(
        [
            Column("how", "how"),
            Column("rate", "Mpixel/s", align="right", format=number),
            Column("seconds", "s", align="right", format=number),
        ],
        [(row["how"], row["rate"], row["seconds"]) for row in result["rows"]],
        title=f"{result['rows'][0]['side']}² pixels, {CLASSES} classes, argmax",
        note=note,
    )
    memory = Table(
        [
            Column("side", "side", align="right", format=count),
            Column("peak", "peak of the process, MB", align="right", format=count),
            Column("seconds", "s", align="right", format=number),
        ],
        [(row["side"], row["peak"], row["seconds"]) for row in result["memory"]],
        title="from a memory map to Zarr, compiled",
    )
    return [rates, memory]


def _bits(network: nn.Module, draws: int) -> dict[str, Any]:
    """How many values differ from the whole image's, over random sizes and tiles."""
    generator = np.random.default_rng(0)
    differ = values = 0
    worst = 0.0
    for _ in range(draws):
        size = [16 * int(n) for n in generator.integers(2, 24, 2)]
        tile = [int(n) for n in generator.integers(24, 200, 2)]
        image = generator.random((3, *size), dtype=np.float32)
        example = torch.from_numpy(image)[None]
        whole = cs.compile(network, example)(example)[0].numpy()
        compiled = cs.tile(network, (1, 3, 8, 8), tile=tile, backend="compiled").run(image).array
        plain = cs.tile(network, (1, 3, 8, 8), tile=tile).run(image).array
        differ += int((compiled != whole).sum())
        values += whole.size
        worst = max(worst, float(abs(plain - whole).max() / abs(whole).max()))
    return {"draws": draws, "compiled": differ, "values": values, "torch": worst}


def _monai_difference() -> float | None:
    """The largest difference from MONAI's own sliding window; None where it is not installed."""
    if not find_spec("monai"):
        return None
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 5, padding=2))
    image = torch.rand(3, 90, 75)
    worst = 0.0
    for blend in ("gaussian", "constant"):
        with torch.no_grad():
            whole = sliding_window_inference(
                image[None], (32, 32), 1, network, overlap=0.25, mode=blend
            )
        tiled = cs.tile(network, (1, 3, 8, 8), tile=32, mode="window", blend=blend)
        worst = max(worst, float(abs(tiled.run(image.numpy()).array - whole[0].numpy()).max()))
    return worst


def _rates(network: nn.Module, side: int, memory: str) -> list[dict[str, Any]]:
    image = _photograph(side)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    fast = cs.compile(network, tensor)

    def tiled(**settings: Any) -> Callable[[], Any]:
        made = cs.tile(network, (1, 3, 8, 8), memory=memory, **settings)
        return lambda: made.run(image, reduce="argmax")

    def whole(call: Callable[[Tensor], Tensor]) -> Callable[[], Any]:
        return lambda: call(tensor).argmax(1)

    calls = {
        "whole, torch": whole(network),
        "whole, compiled": whole(fast),
        "tiled, torch": tiled(),
        "tiled, compiled": tiled(backend="compiled"),
    }
    if find_spec("monai"):
        from monai.inferers import sliding_window_inference

        last = tensor.to(memory_format=torch.channels_last)
        model: Any = network
        model.to(memory_format=torch.channels_last)
        calls["MONAI"] = lambda: sliding_window_inference(
            last, (512, 512), 1, model, overlap=0.25
        ).argmax(1)
    rows = []
    for name, call in calls.items():
        times = []
        with torch.no_grad():
            for _ in range(3):
                begin = perf_counter()
                call()
                times.append(perf_counter() - begin)
        seconds = min(times)
        rows.append(
            {"how": name, "side": side, "seconds": seconds, "rate": side**2 / seconds / 1e6}
        )
    return rows


def _photograph(side: int) -> Any:
    from skimage import data

    tiles = -(-side // 512)
    return np.ascontiguousarray(np.tile(data.astronaut(), (tiles, tiles, 1))[:side, :side])


def _memory(side: int, memory: str) -> dict[str, Any]:
    """The peak of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tile", str(side), memory],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _alone(side: int, memory: str) -> None:
    torch.manual_seed(0)
    network = settled(Segmenter()).eval()
    with TemporaryDirectory() as folder:
        path = Path(folder)
        image = np.lib.format.open_memmap(path / "in.npy", "w+", np.uint8, (side, side, 3))
        photograph = _photograph(512)
        for row in range(0, side, 512):
            strip = np.tile(photograph, (1, -(-side // 512), 1))[:, :side]
            image[row : row + 512] = strip[: min(512, side - row)]
        del image
        tiled = cs.tile(network, (1, 3, 8, 8), memory=memory, backend="compiled")
        begin = perf_counter()
        tiled.run(str(path / "in.npy"), str(path / "out.zarr"), reduce="argmax")
        seconds = perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"side": side, "peak": peak, "seconds": seconds}))


if __name__ == "__main__":
    _alone(int(sys.argv[1]), sys.argv[2])
