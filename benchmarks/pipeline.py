"""Three models in turn, PyTorch between them: a detector, a classifier and a segmenter of a camera.

Each runtime has a process of its own, for the threads of some go on spinning after a call and keep
PyTorch from the processor. `python -m benchmarks.pipeline RUNTIME THREADS` is such a process: it
answers each line with the milliseconds of a frame.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.detector import yolo
from benchmarks.mobile import deeplabv3plus_mobilenetv2, mobilenetv2, settled
from benchmarks.runtimes import CONVSMITH, prepare, versions
from convsmith.report import Column, Table

__all__ = ["options", "run", "tables"]

RUNTIMES = ("eager", "ONNX Runtime", "OpenVINO", CONVSMITH)
MODELS: tuple[tuple[Callable[[], nn.Module], int], ...] = (
    (yolo, 320), (mobilenetv2, 224), (deeplabv3plus_mobilenetv2, 256)
)  # fmt: skip
FRAME = (480, 640)


def options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=int, default=2, help="of PyTorch and of each runtime (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=20, help="turns of each (%(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="frames of a turn (%(default)s)")


def run(options: Namespace) -> dict[str, Any]:
    """Frames by each runtime in turn."""
    words = [sys.executable, "-m", "benchmarks.pipeline"]
    children = {
        name: subprocess.Popen(
            [*words, name, str(options.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in RUNTIMES
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in RUNTIMES}
    try:
        for child in children.values():
            _ask(child)  # prepared
        for _ in range(options.rounds):
            for name, child in children.items():
                found[name] += [_ask(child) for _ in range(options.frames)]
    finally:
        for child in children.values():
            child.kill()
            child.wait()
    rows = []
    for name, times in found.items():
        frame, models = (median(times) for times in zip(*times, strict=True))
        rows.append(
            {"runtime": name, "frame_ms": frame, "models_ms": models, "torch_ms": frame - models}
        )
    return {
        "rows": rows, "threads": options.threads, "versions": versions(),
        "missed": list(_missed(rows)),
    }  # fmt: skip


def _ask(child: subprocess.Popen[str]) -> tuple[float, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("frame\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise RuntimeError(f"{child.args!r} ended")
    frame, models = json.loads(line)
    return frame, models


def _missed(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    best = min(rows, key=lambda row: row["frame_ms"])
    if best["runtime"] != CONVSMITH:
        yield f"{best['runtime']} takes {best['frame_ms']:.1f} ms a frame, less than {CONVSMITH}"


def tables(result: dict[str, Any]) -> Sequence[Table]:
    """One row for each runtime."""
    return [
        Table(
            title=f"a frame through three models, threads: {result['threads']}",
            columns=(
                Column("runtime", "runtime"),
                *(
                    Column(key, title, align="right", format="{:.1f} ms".format)
                    for key, title in (
                        ("frame_ms", "a frame"),
                        ("models_ms", "models"),
                        ("torch_ms", "PyTorch between"),
                    )
                ),
            ),
            rows=result["rows"],
            note="YOLOv8n at 320², MobileNetV2 at 224² and DeepLabV3+ at 256², one image each, "
            "with conversion, resizing and normalisation by PyTorch before each. Goal: the least.",
        )
    ]


def frames(runtime: str, threads: int) -> Iterator[tuple[float, float]]:
    """Milliseconds of a frame, and of the models in it, again and again."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    stages: list[tuple[Tensor, Callable[[], Any]]] = []
    for make, side in MODELS:
        image = torch.zeros(1, 3, side, side)  # which runtimes read at each call
        ready = prepare(settled(make()), image, threads, (runtime,))
        if runtime not in ready.calls:
            raise RuntimeError(f"{runtime}: {ready.reasons.get(runtime, 'not installed')}")
        stages.append((image, ready.calls[runtime]))
    camera = torch.randint(0, 256, (*FRAME, 3), dtype=torch.uint8)
    mean, deviation = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1) + 0.5
    while True:
        start, inside = perf_counter(), 0.0
        for image, call in stages:
            planes = camera.permute(2, 0, 1)[None].float() / 255
            resized = interpolate(planes, image.shape[2:], mode="bilinear", antialias=True)
            image.copy_((resized - mean) / deviation)
            before = perf_counter()
            call()
            inside += perf_counter() - before
        yield 1e3 * (perf_counter() - start), 1e3 * inside


if __name__ == "__main__":
    answers = frames(sys.argv[1], int(sys.argv[2]))
    for _ in sys.stdin:
        print(json.dumps(next(answers)), flush=True)
