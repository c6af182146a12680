"""Networks that raise the resolution, or whose layers are calls and not modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.samples.sample import Sample, Wired

__all__ = ["RESAMPLED"]


def _transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2), nn.Conv2d(4, 2, 3, padding=1),
    )  # fmt: skip


def _shuffled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 9, 3, padding=1), nn.PixelShuffle(3)
    )


def _nearest() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1),
        nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(6, 3, 3, padding=1),
    )  # fmt: skip


def _bilinear() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.Upsample(scale_factor=2.0, mode="bilinear"),
        nn.Conv2d(6, 3, 3, padding=1),
    )  # fmt: skip


def _functional() -> nn.Module:
    def wire(m: Wired, x: Tensor) -> Tensor:
        first, second = m.parameters()
        x = F.relu(F.conv2d(x, first, padding=1), inplace=True)
        return F.conv_transpose2d(F.avg_pool2d(x, 2), second, stride=2)

    return Wired(
        wire,
        first=nn.Parameter(torch.rand(8, 3, 3, 3)),
        second=nn.Parameter(torch.rand(8, 4, 2, 2)),
    )


def _operators() -> nn.Module:
    """A list of layers with the activation as a method, `padding='same'`, and a slice."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        for layer in m.children():
            x = layer(x).relu() * 0.5
        return x[..., 1:-1, ::2]

    return Wired(
        wire, one=nn.Conv2d(3, 6, 3, padding="same"),
        two=nn.Conv2d(6, 6, 3, padding="same", dilation=3), three=nn.Conv2d(6, 4, 1),
    )  # fmt: skip


RESAMPLED = (
    # 12×10 positions under the first transposed convolution, 24×20 under the second.
    Sample("transposed, overlapping, grouped", (1, 3, 24, 20),
           (27 * 8 + 8) + (16 * 8 * 6 + 6) + (9 * 3 * 4 + 4) + (9 * 4 * 2 + 2),
           (27 * 8 + 16 * 8 * 6) * 12 * 10 + 9 * 3 * 4 * 24 * 20 + 9 * 4 * 2 * 48 * 40,
           _transposed),
    Sample("pixel shuffle", (1, 1, 17, 15), (25 * 8 + 8) + (9 * 8 * 9 + 9),
           (25 * 8 + 9 * 8 * 9) * 17 * 15, _shuffled),
    Sample("nearest upsampling", (1, 3, 24, 20), (27 * 6 + 6) + (9 * 6 * 6 + 6) + (9 * 6 * 3 + 3),
           (27 * 6 + 9 * 6 * 3) * 24 * 20 + 9 * 6 * 6 * 12 * 10, _nearest),
    Sample("bilinear upsampling", (1, 3, 24, 20), (27 * 6 + 6) + (9 * 6 * 3 + 3),
           27 * 6 * 12 * 10 + 9 * 6 * 3 * 24 * 20, _bilinear),
    Sample("functional calls", (1, 3, 20, 18), 27 * 8 + 4 * 8 * 4,
           27 * 8 * 20 * 18 + 4 * 8 * 4 * 10 * 9, _functional),
    Sample("a list, methods, padding='same'", (1, 3, 25, 23),
           (27 * 6 + 6) + (9 * 6 * 6 + 6) + (6 * 4 + 4),
           (27 * 6 + 9 * 6 * 6 + 6 * 4) * 25 * 23, _operators),
)  # fmt: skip
