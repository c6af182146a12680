"""A detector as YOLOv8 is built: blocks that are split and joined, a pyramid up and down."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["yolo"]


def _conv(m: int, n: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(m, n, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n, eps=1e-3), nn.SiLU(inplace=True))


class _Bottleneck(nn.Module):
    def __init__(self, n: int, adds: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(n, n, 3), _conv(n, n, 3))
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return x + found if self.adds else found


class _C2f(nn.Module):
    """Half of the channels go through bottlenecks; every step is kept and joined."""

    def __init__(self, m: int, n: int, times: int = 1, adds: bool = False) -> None:
        super().__init__()
        half = n // 2
        self.first = _conv(m, n)
        self.steps = nn.ModuleList(_Bottleneck(half, adds) for _ in range(times))
        self.last = _conv((2 + times) * half, n)

    def forward(self, x: Tensor) -> Tensor:
        maps = list(self.first(x).chunk(2, 1))
        for step in self.steps:
            maps.append(step(maps[-1]))
        found: Tensor = self.last(torch.cat(maps, 1))
        return found


class _SPPF(nn.Module):
    """The map beside its largest values in windows of 5, 9 and 13."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.first = _conv(n, n // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.last = _conv(2 * n, n)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        found: Tensor = self.last(torch.cat(maps, 1))
        return found


class _Detect(nn.Module):
    """Boxes as distributions of 16 bins a side, and classes, at each pixel of a map."""

    def __init__(self, m: int, classes: int = 80) -> None:
        super().__init__()
        self.boxes = nn.Sequential(_conv(m, 64, 3), _conv(64, 64, 3), nn.Conv2d(64, 64, 1))
        self.classes = nn.Sequential(_conv(m, 80, 3), _conv(80, 80, 3), nn.Conv2d(80, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.boxes(x), self.classes(x)], 1).flatten(2)


class _Yolo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(
            _conv(3, 16, 3, 2), _conv(16, 32, 3, 2), _C2f(32, 32, 1, True), _conv(32, 64, 3, 2),
            _C2f(64, 64, 2, True),
        )  # fmt: skip
        self.middle = nn.Sequential(_conv(64, 128, 3, 2), _C2f(128, 128, 2, True))
        self.high = nn.Sequential(_conv(128, 256, 3, 2), _C2f(256, 256, 1, True), _SPPF(256))
        self.larger = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.up = nn.ModuleList([_C2f(384, 128), _C2f(192, 64)])
        self.smaller = nn.ModuleList([_conv(64, 64, 3, 2), _conv(128, 128, 3, 2)])
        self.down = nn.ModuleList([_C2f(192, 128), _C2f(384, 256)])
        self.heads = nn.ModuleList(_Detect(m) for m in (64, 128, 256))

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(x)
        middle = self.middle(low)
        high = self.high(middle)
        middle = self.up[0](torch.cat([self.larger(high), middle], 1))
        maps = [self.up[1](torch.cat([self.larger(middle), low], 1))]
        for smaller, down, other in zip(self.smaller, self.down, (middle, high), strict=True):
            maps.append(down(torch.cat([smaller(maps[-1]), other], 1)))
        found = [head(x) for head, x in zip(self.heads, maps, strict=True)]
        return torch.cat(found, 2)


def yolo() -> nn.Module:
    """YOLOv8 of the smallest width (Ultralytics 2023) up to its maps; for multiples of 32."""
    return _Yolo()
