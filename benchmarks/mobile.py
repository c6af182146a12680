"""The networks that are timed: separable ones, as published, in our own words.

Their weights are random and their batch norms have the statistics of random images, so that values
neither vanish nor grow from layer to layer, as in a trained network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "NETWORKS",
    "deeplabv3plus_mobilenetv2",
    "efficientnet_lite0",
    "mobilenetv1",
    "mobilenetv2",
    "mobilenetv3_large",
    "resnet18",
    "resnet18_separable",
    "settled",
    "settled_on",
]

Activation = Callable[[], nn.Module]


def _conv(
    m: int, n: int, kernel: int = 1, stride: int = 1, groups: int = 1, dilation: int = 1,
    act: Activation | None = nn.ReLU, eps: float = 1e-5,
) -> nn.Sequential:  # fmt: skip
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(m, n, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n, eps), *([act()] if act else []))


def _separable(m: int, n: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(m, m, 3, stride, groups=m, dilation=dilation), _conv(m, n))


def _divisible(channels: float) -> int:
    """The nearest multiple of 8 that is at least nine tenths (Howard et al.'s own rule)."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


class _Excite(nn.Module):
    """Squeeze-and-excite with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = _divisible(channels / 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, few, 1), nn.ReLU(),
            nn.Conv2d(few, channels, 1), nn.Hardsigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.gate(x)
        return gated


class _Inverted(nn.Module):
    """An inverted bottleneck: expand, depthwise, project; with its input where sizes agree."""

    def __init__(
        self, m: int, hidden: int, n: int, kernel: int = 3, stride: int = 1, dilation: int = 1,
        excite: bool = False, act: Activation = nn.ReLU6, eps: float = 1e-5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.adds = stride == 1 and m == n
        self.body = nn.Sequential(
            *([_conv(m, hidden, act=act, eps=eps)] if hidden != m else []),
            _conv(hidden, hidden, kernel, stride, hidden, dilation, act, eps),
            *([_Excite(hidden)] if excite else []),
            _conv(hidden, n, act=None, eps=eps),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return x + found if self.adds else found


def _head(m: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(m, 1000)]


def mobilenetv1() -> nn.Module:
    """Howard et al. 2017."""
    layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
    m = 32
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    for n, stride in [*blocks, *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        layers.append(_separable(m, n, stride))
        m = n
    return nn.Sequential(*layers, *_head(m))


_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
       (6, 320, 1, 1))  # fmt: skip
_LITE = ((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1),
         (5, 6, 192, 4, 2), (3, 6, 320, 1, 1))  # fmt: skip


def _stages(stages: Sequence[tuple[int, int, int, int, int]], m: int = 32) -> list[nn.Module]:
    """Blocks, from rows of kernel, expansion, channels, repetitions and stride."""
    found: list[nn.Module] = []
    for kernel, expansion, n, times, stride in stages:
        for i in range(times):
            found.append(_Inverted(m, expansion * m, n, kernel, 1 if i else stride))
            m = n
    return found


def mobilenetv2() -> nn.Module:
    """Sandler et al. 2018."""
    body = _stages([(3, *stage) for stage in _V2])
    ends = _conv(3, 32, 3, 2, act=nn.ReLU6), _conv(320, 1280, act=nn.ReLU6)
    return nn.Sequential(ends[0], *body, ends[1], *_head(1280))


def efficientnet_lite0() -> nn.Module:
    """Google's variant of Tan and Le 2019 without squeeze-and-excite."""
    ends = _conv(3, 32, 3, 2, act=nn.ReLU6), _conv(320, 1280, act=nn.ReLU6)
    return nn.Sequential(ends[0], *_stages(_LITE), ends[1], *_head(1280))


# Kernel, hidden channels, channels, squeeze-and-excite, hard-swish, stride.
_V3 = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2),
    (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1),
    (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
)  # fmt: skip


def mobilenetv3_large() -> nn.Module:
    """Howard et al. 2019."""
    eps, swish = 1e-3, nn.Hardswish
    layers: list[nn.Module] = [_conv(3, 16, 3, 2, act=swish, eps=eps)]
    m = 16
    for kernel, hidden, n, excite, smooth, stride in _V3:
        act: Activation = swish if smooth else nn.ReLU
        layers.append(_Inverted(m, hidden, n, kernel, stride, 1, bool(excite), act, eps))
        m = n
    return nn.Sequential(
        *layers, _conv(160, 960, act=swish, eps=eps), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(960, 1280), nn.Hardswish(), nn.Linear(1280, 1000),
    )  # fmt: skip


class _DeepLab(nn.Module):
    """Separable dilated branches on MobileNetV2 at stride 16, refined with its features at 4."""

    def __init__(self, classes: int = 21) -> None:
        super().__init__()
        stages = _stages([(3, *stage) for stage in _V2[:2]])
        self.low = nn.Sequential(_conv(3, 32, 3, 2, act=nn.ReLU6), *stages)
        self.high = nn.Sequential(*_stages([(3, *stage) for stage in _V2[2:5]], 24))
        # The last stride becomes a dilation: the map stays at a sixteenth.
        m = 96
        for n, dilation in ((160, 1), (160, 2), (160, 2), (320, 2)):
            self.high.append(_Inverted(m, 6 * m, n, dilation=dilation))
            m = n
        self.point = _conv(320, 256)
        self.branches = nn.ModuleList(_separable(320, 256, dilation=d) for d in (6, 12, 18))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), _conv(320, 256))
        self.project = _conv(5 * 256, 256)
        self.few = _conv(24, 48)
        self.refine = nn.Sequential(_separable(304, 256), _separable(256, 256))
        self.classify = nn.Conv2d(256, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(x)
        high = self.high(low)
        size = high.shape[2:]
        whole = F.interpolate(self.whole(high), size, mode="bilinear", align_corners=False)
        maps = [self.point(high), *(branch(high) for branch in self.branches), whole]
        found = self.project(torch.cat(maps, 1))
        found = F.interpolate(found, scale_factor=4.0, mode="bilinear", align_corners=False)
        found = self.classify(self.refine(torch.cat([found, self.few(low)], 1)))
        return F.interpolate(found, scale_factor=4.0, mode="bilinear", align_corners=False)


def deeplabv3plus_mobilenetv2() -> nn.Module:
    """Chen et al. 2018, with 21 classes; for sizes that are multiples of 16."""
    return _DeepLab()


class _Residual(nn.Module):
    """A basic block (He et al. 2016)."""

    def __init__(self, m: int, n: int, stride: int, separable: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(*_basic(m, n, stride, separable))
        same = stride == 1 and m == n
        self.shortcut = nn.Identity() if same else _conv(m, n, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def _basic(m: int, n: int, stride: int, separable: bool) -> list[nn.Module]:
    """Two 3×3; as separable ones, each with a norm after its pointwise half only.

    That is what `lighten` writes in their place.
    """
    if not separable:
        return [_conv(m, n, 3, stride), _conv(n, n, 3, act=None)]
    return [
        nn.Conv2d(m, m, 3, stride, 1, groups=m, bias=False), _conv(m, n),
        nn.Conv2d(n, n, 3, 1, 1, groups=n, bias=False), _conv(n, n, act=None),
    ]  # fmt: skip


def _resnet18(separable: bool) -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    m = 64
    for n, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [_Residual(m, n, stride, separable), _Residual(n, n, 1, separable)]
        m = n
    return nn.Sequential(*layers, *_head(m))


def resnet18() -> nn.Module:
    """He et al. 2016."""
    return _resnet18(False)


def resnet18_separable() -> nn.Module:
    """The same with every 3×3 in its blocks depthwise and pointwise."""
    return _resnet18(True)


def settled(model: nn.Module, size: int = 224) -> nn.Module:
    """The network for inference, its batch norms with the statistics of random images."""
    generator = torch.Generator().manual_seed(1)
    return settled_on(model, torch.randn(2, 3, size, size, generator=generator))


def settled_on(model: nn.Module, images: Tensor) -> nn.Module:
    """The network for inference, its batch norms with the statistics of these images."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()(images)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "MobileNetV1": mobilenetv1,
    "MobileNetV2": mobilenetv2,
    "MobileNetV3-Large": mobilenetv3_large,
    "EfficientNet-Lite0": efficientnet_lite0,
    "DeepLabV3+ on MobileNetV2": deeplabv3plus_mobilenetv2,
    "ResNet-18, separable": resnet18_separable,
}
