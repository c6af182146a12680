"""Memory that the first call of a network takes, in a process of its own.

`python -m benchmarks.footprint RUNTIME THREADS FILE SIZE` prints it as JSON. What a process held
before the call, the input among it, is taken off the highest it held by the end of the second one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.mobile import mobilenetv2, settled
from benchmarks.runtimes import CONVSMITH, RUNTIMES, export, session

__all__ = ["footprints", "status"]

NAMES = (CONVSMITH, "ONNX Runtime")


def footprints(threads: int, size: int) -> dict[str, Any]:
    """Bytes of MobileNetV2 on one image, by runtime; one line with the reason if it failed."""
    found: dict[str, Any] = {"size": size}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        # Written here: exporting runs the model, and would raise the child's own peak.
        export(_model(), torch.rand(1, 3, size, size), file)
        for name in NAMES:
            words = ["-m", "benchmarks.footprint", name, str(threads), str(file), str(size)]
            for _ in range(2):  # the first one builds kernels, which takes memory once
                done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
            if done.returncode:
                found[name] = (done.stderr.strip().splitlines() or ["it ended"])[-1][:120]
            else:
                found[name] = int(json.loads(done.stdout))
    return found


def _model() -> torch.nn.Module:
    torch.manual_seed(0)
    return settled(mobilenetv2())


def _measure(name: str, threads: int, file: Path, size: int) -> int:
    torch.set_num_threads(threads)
    image = torch.rand(1, 3, size, size)
    call: Callable[[], Any]
    if name == CONVSMITH:
        runtime = next(runtime for runtime in RUNTIMES if runtime.name == name)
        call = runtime.make(_model(), image, threads, file.parent)
    else:
        ready = session(file, threads)
        given = {ready.get_inputs()[0].name: image.numpy()}
        call = lambda: ready.run(None, given)  # noqa: E731
    before = _resident()
    with _peak() as peak:
        call()
        call()
    return peak() - before


@contextmanager
def _peak() -> Iterator[Callable[[], int]]:
    """The highest number of bytes held since; the kernel's own mark where it can be set back."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        reset = status("VmHWM") < 1.02 * status("VmRSS")
    except OSError:
        reset = False
    if reset:
        yield lambda: status("VmHWM")
        return
    most, over = [_resident()], threading.Event()

    def watch() -> None:
        while not over.wait(0.0005):
            most[0] = max(most[0], _resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def stop() -> int:
        over.set()
        thread.join()
        return most[0]

    yield stop


def status(field: str) -> int:
    """Bytes of a field of this process's status, such as `VmHWM`: the most that it has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
