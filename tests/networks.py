"""Published architectures in our own words, so that the suite needs no model library."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def conv_bn(m, n, kernel, stride=1, padding=0, groups=1, act=nn.ReLU):
    layers = [
        nn.Conv2d(m, n, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(n),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """BasicBlock (expansion 1) or Bottleneck (expansion 4) of He et al. 2016."""

    def __init__(self, m, width, stride, expansion):
        super().__init__()
        n = width * expansion
        if expansion == 1:
            self.body = nn.Sequential(conv_bn(m, n, 3, stride, 1), conv_bn(n, n, 3, 1, 1, act=None))
        else:
            self.body = nn.Sequential(
                conv_bn(m, width, 1), conv_bn(width, width, 3, stride, 1),
                conv_bn(width, n, 1, act=None),
            )  # fmt: skip
        self.shortcut = (
            conv_bn(m, n, 1, stride, act=None) if stride > 1 or m != n else nn.Identity()
        )

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def resnet(depths, expansion, classes=1000, width=64):
    blocks, m = [], width
    for stage, depth in enumerate(depths):
        for i in range(depth):
            stride = 2 if stage and not i else 1
            blocks.append(Residual(m, width * 2**stage, stride, expansion))
            m = width * 2**stage * expansion
    return nn.Sequential(
        conv_bn(3, width, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(m, classes),
    )  # fmt: skip


def resnet18():
    return resnet((2, 2, 2, 2), 1)


def resnet50():
    return resnet((3, 4, 6, 3), 4)


def vgg16():
    layers, m = [], 3
    for n in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        layers += [nn.Conv2d(m, n, 3, padding=1), nn.ReLU()] if n else [nn.MaxPool2d(2)]
        m = n or m
    head = [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096),
            nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)]  # fmt: skip
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(7), *head)


def alexnet_features():
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def mobilenet_v1(width=1.0):
    layers, m = [conv_bn(3, int(32 * width), 3, 2, 1)], int(32 * width)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + 5 * [(512, 1)]
    for n, stride in [*plan, (1024, 2), (1024, 1)]:
        layers += [conv_bn(m, m, 3, stride, 1, m), conv_bn(m, n := int(n * width), 1)]
        m = n
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(m, 1000))


class Inverted(nn.Module):
    """The inverted bottleneck of Sandler et al. 2018."""

    def __init__(self, m, n, stride, expansion):
        super().__init__()
        hidden = m * expansion
        expand = [conv_bn(m, hidden, 1, act=nn.ReLU6)] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand, conv_bn(hidden, hidden, 3, stride, 1, hidden, nn.ReLU6),
            conv_bn(hidden, n, 1, act=None),
        )  # fmt: skip
        self.residual = stride == 1 and m == n

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet_v2():
    layers, m = [conv_bn(3, 32, 3, 2, 1, act=nn.ReLU6)], 32
    for t, n, times, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                           (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:  # fmt: skip
        for i in range(times):
            layers.append(Inverted(m, n, 1 if i else s, t))
            m = n
    layers.append(conv_bn(320, 1280, 1, act=nn.ReLU6))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


class Everything(nn.Module):
    """One of each: functional calls, shared and re-parametrised weights, branches, a stranger."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.norm = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.tied = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.tied.weight = self.twice.weight
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.mirror = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.kernel = nn.Parameter(torch.ones(8, 1, 3, 3))
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.aside = nn.Linear(7, 7)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)), inplace=True)
        x = self.twice(self.twice(x)) + self.tied(x)
        x = self.mirror(self.drop(self.weighted(x)))
        y = F.conv2d(x, self.kernel, groups=8, padding=1)
        a, b = torch.cat([x, y], 1).chunk(2, 1)
        y = torch.special.bessel_j0(a * b.sigmoid())
        return self.up(y), x.mean((2, 3))
