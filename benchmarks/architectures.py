"""Published networks in our own words: ResNet-50, DenseNet-121 and -201, HRNet-W18.

Parameters of the published ones: 25,557,032, 7,978,856, 20,013,928 and 21,299,004.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["densenet121", "densenet201", "hrnet_w18", "resnet50"]


def _conv(m: int, n: int, kernel: int, stride: int = 1, act: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(m, n, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n), *([nn.ReLU(inplace=True)] if act else []))


class _Residual(nn.Module):
    """A basic block, or a bottleneck with its stride in the 3×3 (He et al. 2016)."""

    def __init__(self, m: int, n: int, stride: int = 1, bottleneck: bool = True) -> None:
        super().__init__()
        out = 4 * n if bottleneck else n
        if bottleneck:
            layers = [_conv(m, n, 1), _conv(n, n, 3, stride), _conv(n, out, 1, act=False)]
        else:
            layers = [_conv(m, n, 3, stride), _conv(n, n, 3, act=False)]
        self.body = nn.Sequential(*layers)
        same = stride == 1 and m == out
        self.shortcut = nn.Identity() if same else _conv(m, out, 1, stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def _head(m: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(m, 1000)]


def resnet50() -> nn.Module:
    """He et al. 2016."""
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    m = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for i in range(depth):
            n = 64 * 2**stage
            layers.append(_Residual(m, n, 2 if stage and not i else 1))
            m = 4 * n
    return nn.Sequential(*layers, *_head(m))


class _Dense(nn.Module):
    def __init__(self, m: int, growth: int) -> None:
        super().__init__()
        wide = 4 * growth
        self.new = nn.Sequential(
            nn.BatchNorm2d(m), nn.ReLU(inplace=True), nn.Conv2d(m, wide, 1, bias=False),
            nn.BatchNorm2d(wide), nn.ReLU(inplace=True),
            nn.Conv2d(wide, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


def densenet121() -> nn.Module:
    """Huang et al. 2017."""
    return _densenet((6, 12, 24, 16))


def densenet201() -> nn.Module:
    """Huang et al. 2017."""
    return _densenet((6, 12, 48, 32))


def _densenet(depths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    m = 64
    for stage, depth in enumerate(depths, 1):
        for _ in range(depth):
            layers.append(_Dense(m, 32))
            m += 32
        if stage < len(depths):
            layers += [nn.BatchNorm2d(m), nn.ReLU(inplace=True),
                       nn.Conv2d(m, m // 2, 1, bias=False), nn.AvgPool2d(2)]  # fmt: skip
            m //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(m), nn.ReLU(inplace=True), *_head(m))


_WIDTHS = (18, 36, 72, 144)


class _Exchange(nn.Module):
    """Four basic blocks on each resolution, then every resolution gets the sum of all."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Residual(n, n, bottleneck=False) for _ in range(4))) for n in widths
        )
        self.exchange = nn.ModuleList(
            nn.ModuleList(_bring(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        found = []
        for rows in self.exchange:
            brought = [row(x) for row, x in zip(iter(rows.children()), maps, strict=True)]
            total = brought[0]
            for other in brought[1:]:
                total = total + other
            found.append(F.relu(total))
        return found


def _bring(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
    """From one resolution to another: 1×1 and nearest upsampling, or 3×3 of stride 2."""
    m, n = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest")
        return nn.Sequential(_conv(m, n, 1, act=False), up)
    steps = [_conv(m, m, 3, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _conv(m, n, 3, 2, act=False))


class _HighResolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(3, 64, 3, 2), _conv(64, 64, 3, 2),
            _Residual(64, 64), *(_Residual(256, 64) for _ in range(3)),
        )  # fmt: skip
        self.parts = nn.ModuleList(
            [nn.ModuleList([_conv(256, 18, 3), _conv(256, 36, 3, 2)])]
            + [nn.ModuleList([_conv(_WIDTHS[i], _WIDTHS[i + 1], 3, 2)]) for i in (1, 2)]
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Exchange(_WIDTHS[: i + 2]) for _ in range(times)))
            for i, times in enumerate((1, 4, 3))
        )
        wide = (128, 256, 512, 1024)
        self.widen = nn.ModuleList(_Residual(m, n // 4) for m, n in zip(_WIDTHS, wide, strict=True))
        self.down = nn.ModuleList(_with_bias(_conv(n, 2 * n, 3, 2)) for n in wide[:3])
        self.head = nn.Sequential(_with_bias(_conv(1024, 2048, 1)), *_head(2048))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        maps = [part(x) for part in self.parts[0].children()]
        maps = self.stages[0](maps)
        for more, stage in zip(list(self.parts)[1:], list(self.stages)[1:], strict=True):
            maps = stage([*maps, *(part(maps[-1]) for part in more.children())])
        maps = [widen(x) for widen, x in zip(self.widen, maps, strict=True)]
        found = maps[0]
        for down, lower in zip(self.down, maps[1:], strict=True):
            found = lower + down(found)
        answer: Tensor = self.head(found)
        return answer


def _with_bias(layers: nn.Sequential) -> nn.Sequential:
    """The same with a bias in its convolution, as published for these few."""
    conv = layers[0]
    assert isinstance(conv, nn.Conv2d)
    conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
    return layers


def hrnet_w18() -> nn.Module:
    """Wang et al. 2020, the classifier: three stages of exchange among up to four resolutions."""
    return _HighResolution()
