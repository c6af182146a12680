"""Networks whose result is an image: a U-Net, and a generator for super-resolution."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["esrgan", "unet"]


class _UNet(nn.Module):
    """Five levels, two 3×3 at each; up by a transposed convolution or bilinearly."""

    def __init__(self, norm: Callable[[int], nn.Module], bilinear: bool, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]

        def twice(m: int, n: int) -> nn.Sequential:
            pairs = [(m, n), (n, n)]
            return nn.Sequential(
                *(layer for m, n in pairs for layer in
                  (nn.Conv2d(m, n, 3, padding=1, bias=False), norm(n), nn.ReLU(inplace=True)))
            )  # fmt: skip

        def up(m: int, n: int) -> nn.Module:
            if not bilinear:
                return nn.ConvTranspose2d(m, n, 2, 2)
            larger = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
            return nn.Sequential(larger, nn.Conv2d(m, n, 1))

        self.down = nn.ModuleList(twice(m, n) for m, n in zip([3, *widths], widths, strict=False))
        pairs = list(zip(widths[1:], widths, strict=False))[::-1]
        self.up = nn.ModuleList(up(m, n) for m, n in pairs)
        self.join = nn.ModuleList(twice(2 * n, n) for _, n in pairs)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, body in enumerate(self.down):
            x = body(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        found: Tensor = self.head(x)
        return found


def unet(group_norm: bool = False) -> nn.Module:
    """Ronneberger et al. 2015 with padding, half as wide: batch norm, transposed convolutions.

    Or group norm of eight groups and bilinear interpolation. For multiples of 16.
    """
    if group_norm:
        return _UNet(lambda n: nn.GroupNorm(8, n), bilinear=True)
    return _UNet(nn.BatchNorm2d, bilinear=False)


class _DenseResidual(nn.Module):
    """Five 3×3, each of which reads all maps before it; a fifth of the result is added."""

    def __init__(self, n: int, growth: int) -> None:
        super().__init__()
        outs = [growth] * 4 + [n]
        self.convs = nn.ModuleList(
            nn.Conv2d(n + i * growth, out, 3, padding=1) for i, out in enumerate(outs)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for conv in self.convs:
            new = conv(torch.cat(maps, 1))
            maps.append(F.leaky_relu(new, 0.2))
        found: Tensor = x + 0.2 * new
        return found


class _SuperResolution(nn.Module):
    def __init__(self, blocks: int = 6, n: int = 32, growth: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n, 3, padding=1)
        self.trunk = nn.Sequential(
            *(_DenseResidual(n, growth) for _ in range(blocks)), nn.Conv2d(n, n, 3, padding=1)
        )
        self.up = nn.ModuleList(nn.Conv2d(n, n, 3, padding=1) for _ in range(2))
        self.head = nn.Sequential(
            nn.Conv2d(n, n, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(n, 3, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.trunk(x)
        for conv in self.up:
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0, mode="nearest")), 0.2)
        found: Tensor = self.head(x)
        return found


def esrgan() -> nn.Module:
    """Wang et al. 2018, the generator, smaller: six dense residual blocks of 32 channels, 4×."""
    return _SuperResolution()
