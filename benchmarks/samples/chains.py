"""Layers in series: kernels, strides, dilation, groups, one to three dimensions."""

from __future__ import annotations

from torch import nn

from benchmarks.samples.sample import Sample, Wired, conv_bn

__all__ = ["CHAINS"]


def _plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()
    )


def _batch_norm() -> nn.Module:
    return nn.Sequential(conv_bn(3, 8, 3), nn.ReLU(), conv_bn(8, 8, 5), nn.ReLU6())


def _strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False),
    )  # fmt: skip


def _dilated() -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False) for _ in range(3)))


def _grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, groups=4), nn.ReLU(), nn.ChannelShuffle(4),
        nn.Conv2d(16, 16, 3, padding=1, groups=4),
    )  # fmt: skip


def _separable() -> nn.Module:
    return nn.Sequential(
        conv_bn(8, 8, 3, 2, groups=8), nn.ReLU(), conv_bn(8, 16, 1), nn.ReLU(),
        conv_bn(16, 16, 3, groups=16), nn.ReLU(), conv_bn(16, 16, 1), nn.ReLU(),
    )  # fmt: skip


def _asymmetric() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 6, (1, 7), padding=(0, 3)), nn.ReLU(),
        nn.Conv2d(6, 6, (5, 1), (2, 1), (2, 0)), nn.Conv2d(6, 4, (3, 2)),
    )  # fmt: skip


def _sequence() -> nn.Module:
    return nn.Sequential(
        nn.ConstantPad1d((14, 0), 0.0), nn.Conv1d(6, 8, 3, dilation=1), nn.ReLU(),
        nn.Conv1d(8, 8, 3, dilation=2), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=4), nn.ReLU(),
        nn.Conv1d(8, 4, 1),
    )  # fmt: skip


def _volume() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 6, (1, 3, 3))
    )


def _twice() -> nn.Module:
    return Wired(
        lambda m, x: m.conv(m.conv(x).relu()), conv=nn.Conv2d(6, 6, 3, padding=1, bias=False)
    )


def _weight_norm() -> nn.Module:
    weight_norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        weight_norm(nn.Conv2d(3, 8, 3, padding=1)), nn.ReLU(), weight_norm(nn.Conv2d(8, 4, 3))
    )


def _averaged() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(6, 6, 3, padding=1),
        nn.AvgPool2d(3, 2, 1), nn.Conv2d(6, 6, 1),
    )  # fmt: skip


# Kernel · input channels / groups · output channels · output positions.
CHAINS = (
    Sample("plain, with bias", (1, 3, 21, 19), (9 * 3 * 8 + 8) + (9 * 8 * 12 + 12),
           (9 * 3 * 8 + 9 * 8 * 12) * 21 * 19, _plain),
    Sample("batch norm, no bias", (1, 3, 22, 20), 9 * 3 * 8 + 2 * 8 + 25 * 8 * 8 + 2 * 8,
           (9 * 3 * 8 + 25 * 8 * 8) * 22 * 20, _batch_norm),
    Sample("strides and a max pool", (1, 3, 63, 61), 49 * 3 * 8 + 2 * 8 + 9 * 8 * 16,
           49 * 3 * 8 * 32 * 31 + 9 * 8 * 16 * 8 * 8, _strided),
    Sample("dilated 2, 2, 2", (1, 4, 24, 22), 3 * 9 * 4 * 4, 3 * 9 * 4 * 4 * 24 * 22, _dilated),
    Sample("grouped, channels shuffled", (1, 8, 20, 18), (9 * 2 * 16 + 16) + (9 * 4 * 16 + 16),
           (9 * 2 * 16 + 9 * 4 * 16) * 20 * 18, _grouped),
    Sample("depthwise separable", (1, 8, 31, 29),
           (9 * 8 + 2 * 8) + (8 * 16 + 2 * 16) + (9 * 16 + 2 * 16) + (16 * 16 + 2 * 16),
           (9 * 8 + 8 * 16 + 9 * 16 + 16 * 16) * 16 * 15, _separable),
    Sample("asymmetric kernels", (1, 4, 27, 23),
           (7 * 4 * 6 + 6) + (5 * 6 * 6 + 6) + (6 * 6 * 4 + 4),
           7 * 4 * 6 * 27 * 23 + 5 * 6 * 6 * 14 * 23 + 6 * 6 * 4 * 12 * 22, _asymmetric),
    Sample("1-D, causal, dilated 1, 2, 4", (1, 6, 67),
           (3 * 6 * 8 + 8) + 2 * (3 * 8 * 8 + 8) + (8 * 4 + 4),
           (3 * 6 * 8) * 79 + (3 * 8 * 8) * 75 + (3 * 8 * 8 + 8 * 4) * 67, _sequence),
    Sample("3-D", (1, 2, 11, 13, 12), (27 * 2 * 4 + 4) + (9 * 4 * 6 + 6),
           27 * 2 * 4 * 11 * 13 * 12 + 9 * 4 * 6 * 5 * 4 * 4, _volume),
    Sample("one module called twice", (1, 6, 19, 17), 9 * 6 * 6, 2 * 9 * 6 * 6 * 19 * 17, _twice),
    # A length for each kernel beside its direction.
    Sample("weight norm", (1, 3, 18, 16), (9 * 3 * 8 + 8 + 8) + (9 * 8 * 4 + 4 + 4),
           9 * 3 * 8 * 18 * 16 + 9 * 8 * 4 * 16 * 14, _weight_norm),
    Sample("average pools", (1, 3, 34, 30), (9 * 3 * 6 + 6) + (9 * 6 * 6 + 6) + (6 * 6 + 6),
           9 * 3 * 6 * 34 * 30 + 9 * 6 * 6 * 17 * 15 + 6 * 6 * 9 * 8, _averaged),
)  # fmt: skip
