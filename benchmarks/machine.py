"""What a figure was measured on: processor, versions, and what this machine reaches at best.

`python -m benchmarks.machine` measures the peaks of one thread and prints them as JSON. `record`
does that in a process of its own, because a library's number of threads is settled when it loads.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

from convsmith._version import __version__

__all__ = ["record", "version"]

ROOT = Path(__file__).resolve().parent.parent
_STEERS = ("OMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SIDE = 1536  # of the sgemm: 28 MB in all, far above what caches alone would make of it
_COPIED = 2**28  # bytes: far above the last cache


def record(dropped: str | None = None) -> dict[str, Any]:
    """Describe this machine.

    Args:
        dropped: the value that OPENBLAS_CORETYPE had. It names the kernels of a processor, perhaps
            of another one, so benchmarks run without it.
    """
    from convsmith.cli.doctor import report

    found = report()
    note = "OPENBLAS_CORETYPE is left unset: it would choose another processor's kernels"
    return {
        **found["cpu"],
        "cores": found["threads"]["usable"],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "convsmith": __version__,
        "commit": _commit(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_STEERS)},
        "note": f"{note}; it was {dropped!r}" if dropped else note,
        "peak": _measured_apart(),
    }


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the working tree, with `+` where tracked files differ from it."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + "+" * bool(changed)


def _measured_apart() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.machine"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | _ONE_THREAD,
    )
    return dict(json.loads(done.stdout))


def _peak() -> dict[str, Any]:
    """Best of several runs, because a disturbance can only slow one down.

    The FMA peak is that of the faster library: on some processors torch's sgemm does not use the
    widest instructions.
    """
    import numpy as np
    import torch

    torch.set_num_threads(1)
    a, b = (torch.rand(_SIDE, _SIDE) for _ in range(2))
    product = torch.empty_like(a)
    x, y = a.numpy(), b.numpy()
    source = torch.ones(_COPIED // 4)
    target = torch.empty_like(source)
    flops = 2 * _SIDE**3
    sgemm = {
        "torch": flops / _best(lambda: torch.mm(a, b, out=product)) / 1e9,
        "numpy": flops / _best(lambda: np.matmul(x, y)) / 1e9,
    }
    return {
        "threads": 1,
        "fma_gflops": round(max(sgemm.values()), 1),
        "sgemm_gflops": {name: round(value, 1) for name, value in sgemm.items()},
        # What is read and what is written both cross the bus.
        "copy_gb_s": round(2 * _COPIED / _best(lambda: target.copy_(source)) / 1e9, 1),
    }


def _best(call: Callable[[], object], runs: int = 8) -> float:
    """The seconds of the fastest run, after a warm-up."""
    times = []
    for _ in range(runs + 1):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times[1:])


if __name__ == "__main__":
    print(json.dumps(_peak()))
