"""Many calls, several callers, forks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from convsmith.kernels.isa import Isa
from convsmith.runtime import compile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 12, 1), nn.MaxPool2d(2), nn.Conv2d(12, 12, 1),
    ).eval()  # fmt: skip


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow(isa: Isa) -> None:
    image = torch.randn(1, 3, 24, 24)
    fast = compile(_net(), image, isa=isa.name, threads=1)
    for _ in range(500):
        fast(image)
    gc.collect()
    before = _resident()
    for _ in range(10_000):
        fast(image)
    gc.collect()
    # One leaked byte array of a call would be 30 KB, in all 300 MB.
    assert _resident() - before < 4 * 2**20


@pytest.mark.parametrize("threads", [1, 2])
def test_several_callers(isa: Isa, threads: int) -> None:
    images = [torch.randn(2, 3, 24, 24) for _ in range(4)]
    fast = compile(_net(), images[0], isa=isa.name, threads=threads)
    wanted = [fast(image) for image in images]
    wrong: list[object] = []

    def call(number: int) -> None:
        try:
            for _ in range(100):
                if not torch.equal(fast(images[number]), wanted[number]):
                    wrong.append(number)
        except Exception as error:
            wrong.append(error)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


_FORK = """
import os, sys, torch
from torch import nn
from convsmith.runtime import compile
torch.set_num_threads(1)
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 1)).eval()
image = torch.randn(2, 3, 24, 24)
fast = compile(net, image, isa=sys.argv[1], threads=2)
wanted = fast(image)
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        right = all(torch.equal(fast(image), wanted) for _ in range(20))
        os._exit(0 if right else 1)
    children.append(child)
right = all(torch.equal(fast(image), wanted) for _ in range(20))
codes = [os.waitpid(child, 0)[1] for child in children]
sys.exit(0 if right and not any(codes) else 1)
"""


@pytest.mark.slow
def test_forks(isa: Isa) -> None:
    _ends_well(_FORK, isa)


_EXIT = """
import sys, threading, torch
from torch import nn
from convsmith.runtime import compile
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).eval()
image = torch.randn(1, 3, 64, 64)
fast = compile(net, image, isa=sys.argv[1], threads=2)
fast(image)
def call():
    while True:
        fast(image)
threading.Thread(target=call, daemon=True).start()
for _ in range(20):
    fast(image)
"""


@pytest.mark.slow
def test_exit_while_a_call_runs(isa: Isa) -> None:
    _ends_well(_EXIT, isa)


def _ends_well(script: str, isa: Isa) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, isa.name], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
