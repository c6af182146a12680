"""Many calls from many threads, at random sizes, while weights change and other models compile."""

from __future__ import annotations

import os
import random
import resource
import threading

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs

CALLS = int(os.environ.get("CONVSMITH_SOAK", "1600"))
THREADS = 8


class Scaled(nn.Module):
    """Its output is proportional to its first weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.b = nn.Conv2d(8, 4, 3, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@pytest.mark.slow
def test_soak() -> None:
    net = Scaled().eval()
    base = net.a.weight.detach().clone()
    fast = cs.compile(net, (1, 3, 16, 16), threads=2)
    sizes = [(n, 3, r, p) for n in (1, 2, 5) for r in (5, 16, 31) for p in (7, 24)]
    images = [torch.randn(size) for size in sizes]
    with torch.no_grad():
        expected = [net(image) for image in images]
    # Every scale that was begun, and how many of them were surely in place: a call may see any
    # from the last one in place when it began to the last one begun when it ended.
    begun, in_place, wrong, over = [1.0], [0], [], threading.Event()

    def call(seed: int) -> None:
        order = random.Random(seed)
        try:
            for _ in range(CALLS // THREADS):
                which = order.randrange(len(images))
                first = in_place[-1]
                found = fast(images[which])
                allowed = begun[first:]
                if not any(
                    torch.allclose(found, scale * expected[which], rtol=1e-3, atol=1e-4 * scale)
                    for scale in allowed
                ):
                    wrong.append((sizes[which], allowed))
        except BaseException as error:
            wrong.append(error)

    def change() -> None:
        while not over.wait(0.05):
            scale = random.choice([0.5, 1.0, 2.0, 4.0])
            begun.append(scale)
            net.a.weight.data = base * scale
            in_place.append(len(begun) - 1)

    def compile_others() -> None:
        while not over.wait(0.2):
            cs.compile(nn.Conv2d(3, random.choice([4, 8]), 3).eval(), (1, 3, 9, 9))

    def warm_up() -> None:
        for image in images:
            fast(image)

    warm_up()
    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(THREADS)]
    others = [threading.Thread(target=change), threading.Thread(target=compile_others)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for thread in (*callers, *others):
        thread.start()
    for thread in callers:
        thread.join()
    over.set()
    for thread in others:
        thread.join()
    assert not wrong, wrong[:3]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 300_000, f"{grown} KiB"
