"""Ten small networks, each of another architecture, for machines that an emulator stands in for."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.networks import Inverted, conv_bn, resnet
from tests.runtime.test_random_networks import _Excite

__all__ = ["VARIED"]


def _classifier(*layers: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _mobilenetv2() -> nn.Module:
    """Inverted bottlenecks, one of them with its input added (Sandler et al. 2018)."""
    return _classifier(
        conv_bn(3, 8, 3, 2, 1, act=nn.ReLU6), Inverted(8, 12, 2, 4), Inverted(12, 12, 1, 4),
        conv_bn(12, 40, 1, act=nn.ReLU6), channels=40,
    )  # fmt: skip


def _mobilenetv3() -> nn.Module:
    """Squeeze-and-excite, hard swish and kernels of 5×5 (Howard et al. 2019)."""
    return _classifier(
        conv_bn(3, 16, 3, 2, 1, act=nn.Hardswish),
        conv_bn(16, 16, 5, 1, 2, groups=16, act=nn.Hardswish), _Excite(16),
        conv_bn(16, 24, 1, act=None), conv_bn(24, 36, 1, act=nn.Hardswish), channels=36,
    )  # fmt: skip


class _UNet(nn.Module):
    """Two levels, brought back by transposed convolutions and joined (Ronneberger et al. 2015)."""

    def __init__(self, n: int = 8) -> None:
        super().__init__()
        self.first, self.second = conv_bn(3, n, 3, 1, 1), conv_bn(n, 2 * n, 3, 1, 1)
        self.bottom = conv_bn(2 * n, 4 * n, 3, 1, 1)
        self.up_second = nn.ConvTranspose2d(4 * n, 2 * n, 2, 2)
        self.up_first = nn.ConvTranspose2d(2 * n, n, 4, 2, 1)
        self.joined_second = conv_bn(4 * n, 2 * n, 3, 1, 1)
        self.joined_first, self.last = conv_bn(2 * n, n, 3, 1, 1), nn.Conv2d(n, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(F.max_pool2d(first, 2))
        x = self.up_second(self.bottom(F.max_pool2d(second, 2)))
        x = self.up_first(self.joined_second(torch.cat([x, second], 1)))
        return self.last(self.joined_first(torch.cat([x, first], 1)))


class _Exchange(nn.Module):
    """Half of the channels convolved, then shuffled among each other (Ma et al. 2018)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.side = nn.Sequential(
            conv_bn(n, n, 1), conv_bn(n, n, 3, 1, 1, groups=n, act=None), conv_bn(n, n, 1)
        )
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, half = x.chunk(2, 1)
        return self.shuffle(torch.cat([kept, self.side(half)], 1))


def _shufflenetv2() -> nn.Module:
    return _classifier(conv_bn(3, 16, 3, 2, 1), _Exchange(8), _Exchange(8), channels=16)


def _resnext() -> nn.Module:
    """Grouped convolutions and group norm."""

    def block(m: int, n: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(m, n, 3, stride, 1, groups=4, bias=False)
        return nn.Sequential(conv, nn.GroupNorm(4, n), nn.SiLU())

    stem = nn.Conv2d(3, 16, 3, padding=1)
    return _classifier(stem, block(16, 24, 2), block(24, 32, 1), channels=32)


class _Pyramid(nn.Module):
    """Dilated branches beside a mean of the whole map, then brought up (Chen et al. 2017)."""

    def __init__(self, n: int = 12) -> None:
        super().__init__()
        self.stem = conv_bn(3, n, 3, 2, 1)
        self.branches = nn.ModuleList(
            nn.Conv2d(n, n, 3, padding=rate, dilation=rate) for rate in (1, 2, 5)
        )
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(n, n, 1), nn.ReLU())
        self.project = conv_bn(4 * n, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        whole = F.interpolate(self.whole(x), x.shape[2:], mode="nearest")
        x = self.project(torch.cat([*(branch(x) for branch in self.branches), whole], 1))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    """Causal, dilated, over one axis (Bai et al. 2018)."""

    def __init__(self, n: int, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self.conv, self.mix = nn.Conv1d(n, n, 3, dilation=rate), nn.Conv1d(n, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.conv(F.pad(x, (2 * self.rate, 0))).relu())


def _tcn() -> nn.Module:
    ends = nn.Conv1d(3, 12, 3, padding=1), nn.Conv1d(12, 4, 1)
    return nn.Sequential(ends[0], *(_Residual(12, rate) for rate in (1, 2, 4)), ends[1])


def _espcn() -> nn.Module:
    """Larger by shuffled pixels (Shi et al. 2016)."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 12, 3, padding=1), nn.PReLU(12),
        nn.Conv2d(12, 27, 3, padding=1), nn.PixelShuffle(3),
    )  # fmt: skip


class _Dense(nn.Module):
    """Each layer reads all maps before it, normed before it is convolved (Huang et al. 2017)."""

    def __init__(self, m: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(m + i * growth), nn.ReLU(),
                nn.Conv2d(m + i * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def _densenet() -> nn.Module:
    stem = nn.Conv2d(3, 12, 7, 2, 3, bias=False)
    between = nn.Sequential(nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 12, 1), nn.AvgPool2d(2))
    return _classifier(
        stem, nn.MaxPool2d(3, 2, 1), _Dense(12, 6, 2), between, _Dense(12, 6, 2), channels=24
    )


_MAP, _LINE = (1, 3, 32, 28), (2, 3, 45)

VARIED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MobileNetV2": (_mobilenetv2, _MAP),
    "MobileNetV3": (_mobilenetv3, _MAP),
    "ResNet": (lambda: resnet((1, 1), 1, classes=10, width=8), _MAP),
    "U-Net": (_UNet, _MAP),
    "ShuffleNetV2": (_shufflenetv2, _MAP),
    "ResNeXt with group norm": (_resnext, (2, 3, 17, 22)),
    "dilated pyramid": (_Pyramid, _MAP),
    "1-D": (_tcn, _LINE),
    "ESPCN": (_espcn, (1, 3, 13, 11)),
    "DenseNet": (_densenet, _MAP),
}
"""How each is made, and the shape of its input."""
