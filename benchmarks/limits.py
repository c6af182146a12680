"""What this machine reaches at best with a number of threads: multiply-adds, copied bytes.

`python -m benchmarks.limits THREADS` measures it in a process of its own, because a library's
number of threads is settled when it loads, and prints it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

__all__ = ["limits"]

_STEERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SIDE = 1536
_COPIED = 2**28
_CHANNELS, _PIXELS, _DEPTH = 512, 28, 12


def limits(threads: int) -> dict[str, Any]:
    """Peaks of this machine.

    `gflops` is the highest rate of any: PyTorch's and NumPy's sgemm, and our own pointwise kernel
    in a chain of layers, because on some processors neither library uses the widest instructions.
    `gb_s` is that of a copy much larger than the caches; bytes read and bytes written both count.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.limits", str(threads)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | dict.fromkeys(_STEERS, str(threads)),
    )
    return dict(json.loads(done.stdout))


def _measure(threads: int) -> dict[str, Any]:
    import numpy as np
    import torch
    from torch import nn

    from benchmarks.machine import _best
    from convsmith.runtime import compile

    torch.set_num_threads(threads)
    a, b = (torch.rand(_SIDE, _SIDE) for _ in range(2))
    product = torch.empty_like(a)
    x, y = a.numpy(), b.numpy()
    source = torch.ones(_COPIED // 4)
    target = torch.empty_like(source)
    chain = nn.Sequential(*(nn.Conv2d(_CHANNELS, _CHANNELS, 1) for _ in range(_DEPTH))).eval()
    image = torch.rand(1, _CHANNELS, _PIXELS, _PIXELS)
    flops, ours = 2 * _SIDE**3, 2 * _DEPTH * _CHANNELS**2 * _PIXELS**2
    rates = {
        "torch sgemm": flops / _best(lambda: torch.mm(a, b, out=product)) / 1e9,
        "numpy sgemm": flops / _best(lambda: np.matmul(x, y)) / 1e9,
    }
    try:
        fast = compile(chain, image, threads=threads)
        rates["pointwise kernel"] = ours / _best(lambda: fast(image), 30) / 1e9
    except Exception as error:  # the peers can be timed without it
        print(f"no rate of the pointwise kernel: {error}", file=sys.stderr)
    return {
        "threads": threads,
        "gflops": round(max(rates.values()), 1),
        "rates": {name: round(value, 1) for name, value in rates.items()},
        "gb_s": round(2 * _COPIED / _best(lambda: target.copy_(source)) / 1e9, 1),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
