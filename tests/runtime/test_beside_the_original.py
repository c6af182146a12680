"""The user's model is never touched: other threads use it while it is captured for a new size."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

import convsmith as cs


class Sized(nn.Module):
    """Its code depends on the size: each is captured by itself."""

    locked = False

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.norm(self.a(x)))
        return self.b(y) * (1 + x.shape[3] // 4 % 3)

    def __setattr__(self, name: str, value: Any) -> None:
        # A copy may be changed; a copy is no longer this very object.
        assert not (self.locked and id(self) in _LOCKED), name
        super().__setattr__(name, value)


_LOCKED: set[int] = set()


def test_nothing_is_assigned() -> None:
    net = Sized().train()
    before = {n: (m, m.training, dict(m._parameters)) for n, m in net.named_modules()}
    _LOCKED.add(id(net))
    Sized.locked = True
    try:
        fast = cs.compile(net, (1, 3, 8, 8), threads=1)
        fast(torch.randn(1, 3, 12, 16))
        nn.init.normal_(net.a.weight)
        fast(torch.randn(2, 3, 12, 20))
        fast.refresh()
    finally:
        Sized.locked = False
        _LOCKED.clear()
    for name, module in net.named_modules():
        same, training, parameters = before[name]
        assert module is same
        assert module.training == training
        assert list(module._parameters.items()) == list(parameters.items())


def test_threads_beside() -> None:
    net = Sized().eval()
    fast = cs.compile(net, (1, 3, 8, 8), threads=1)
    images = [torch.randn(1, 3, 8, width) for width in range(8, 20)]
    with torch.no_grad():
        expected = [net(image) for image in images]
    wrong: list[Any] = []
    over = threading.Event()

    def eager() -> None:
        try:
            while not over.is_set():
                for image, right in zip(images, expected, strict=True):
                    with torch.no_grad():
                        found = net(image)
                    if type(found) is not Tensor or not torch.allclose(found, right, atol=1e-6):
                        wrong.append(found)
        except BaseException as error:
            wrong.append(error)

    def compiled(first: int) -> None:
        try:
            for which in range(len(images)):
                place = (first + which) % len(images)
                found = fast(images[place])
                if not torch.allclose(found, expected[place], atol=1e-5):
                    wrong.append(found)
        except BaseException as error:
            wrong.append(error)

    beside = [threading.Thread(target=eager) for _ in range(12)]
    callers = [threading.Thread(target=compiled, args=(3 * number,)) for number in range(4)]
    for thread in (*beside, *callers):
        thread.start()
    for thread in callers:
        thread.join()
    over.set()
    for thread in beside:
        thread.join()
    assert not wrong, wrong[:3]
