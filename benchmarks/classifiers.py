"""Published classifiers of several families in our own words, beside the separable ones.

Parameters of the published ones: VGG-16 138,357,544, SqueezeNet 1.1 1,235,496, ShuffleNetV2
2,278,604.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["convnext_atto", "shufflenetv2", "squeezenet", "vgg16"]


def vgg16() -> nn.Module:
    """Simonyan and Zisserman 2015."""
    layers: list[nn.Module] = []
    m = 3
    for n, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(times):
            layers += [nn.Conv2d(m, n, 3, padding=1), nn.ReLU(inplace=True)]
            m = n
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
    )  # fmt: skip


class _Fire(nn.Module):
    def __init__(self, m: int, few: int, n: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(m, few, 1), nn.ReLU(inplace=True))
        self.small = nn.Sequential(nn.Conv2d(few, n, 1), nn.ReLU(inplace=True))
        self.large = nn.Sequential(nn.Conv2d(few, n, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.small(x), self.large(x)], 1)


def squeezenet() -> nn.Module:
    """Iandola et al. 2016, version 1.1."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True)]
    m = 64
    for few_channels in ((16, 16), (32, 32), (48, 48, 64, 64)):
        layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        for few in few_channels:
            layers.append(_Fire(m, few, 4 * few))
            m = 8 * few
    return nn.Sequential(
        *layers, nn.Conv2d(m, 1000, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def _conv(
    m: int, n: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    conv = nn.Conv2d(m, n, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(n), *([nn.ReLU(inplace=True)] if act else [])]


class _Shuffled(nn.Module):
    """Half of the channels pass unchanged (with a stride: through a branch), then all mix."""

    def __init__(self, m: int, n: int, stride: int) -> None:
        super().__init__()
        half = n // 2
        first = m if stride > 1 else half
        self.through = nn.Sequential(
            *(_conv(m, m, 3, 2, m, act=False) + _conv(m, half) if stride > 1 else [])
        )
        self.branch = nn.Sequential(
            *_conv(first, half), *_conv(half, half, 3, stride, half, act=False), *_conv(half, half)
        )
        self.split = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1) if self.split else (x, x)
        joined = torch.cat([self.through(left), self.branch(right)], 1)
        n, c, h, w = joined.shape
        # nn.ChannelShuffle has no form in ONNX.
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenetv2() -> nn.Module:
    """Ma et al. 2018, of width 1."""
    layers: list[nn.Module] = [*_conv(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    m = 24
    for n, times in ((116, 4), (232, 8), (464, 4)):
        for i in range(times):
            layers.append(_Shuffled(m, n, 1 if i else 2))
            m = n
    return nn.Sequential(
        *layers, *_conv(m, 1024), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000)
    )


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Next(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n, n, 7, padding=3, groups=n), _ChannelNorm(n, eps=1e-6),
            nn.Conv2d(n, 4 * n, 1), nn.GELU(), nn.Conv2d(4 * n, n, 1),
        )  # fmt: skip
        self.scale = nn.Parameter(torch.full((n, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.scale * self.body(x)
        return found


def convnext_atto() -> nn.Module:
    """Liu et al. 2022, in the smallest size of timm."""
    layers: list[nn.Module] = [nn.Conv2d(3, 40, 4, 4), _ChannelNorm(40, eps=1e-6)]
    m = 40
    for n, times in ((40, 2), (80, 2), (160, 6), (320, 2)):
        if n != m:
            layers += [_ChannelNorm(m, eps=1e-6), nn.Conv2d(m, n, 2, 2)]
        layers += [_Next(n) for _ in range(times)]
        m = n
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), _ChannelNorm(m, eps=1e-6), nn.Flatten(),
        nn.Linear(m, 1000),
    )  # fmt: skip
