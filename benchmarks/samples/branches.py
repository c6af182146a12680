"""Networks that part and meet again: residual, dense, parallel rates, encoder and decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.samples.sample import Sample, Wired, conv_bn

__all__ = ["BRANCHES"]


def _residual() -> nn.Module:
    block = Wired(
        lambda m, x: F.relu(m.body(x) + m.shortcut(x)),
        body=nn.Sequential(conv_bn(8, 16, 3, 2), nn.ReLU(), conv_bn(16, 16, 3)),
        shortcut=conv_bn(8, 16, 1, 2),
    )
    return nn.Sequential(conv_bn(3, 8, 3), nn.ReLU(), block)


def _inverted() -> nn.Module:
    def body(m: int, n: int, stride: int) -> nn.Sequential:
        wide = 4 * m
        return nn.Sequential(
            conv_bn(m, wide, 1), nn.ReLU6(), conv_bn(wide, wide, 3, stride, groups=wide),
            nn.ReLU6(), conv_bn(wide, n, 1),
        )  # fmt: skip

    return nn.Sequential(
        conv_bn(3, 8, 3, 2), body(8, 8, 2), Wired(lambda m, x: x + m.body(x), body=body(8, 8, 1))
    )


def _dense() -> nn.Module:
    def layer(m: int) -> nn.Module:
        return Wired(
            lambda m, x: torch.cat([x, m.new(x)], 1),
            new=nn.Sequential(
                nn.BatchNorm2d(m), nn.ReLU(), nn.Conv2d(m, 4, 3, padding=1, bias=False)
            ),
        )

    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer(8), layer(12), layer(16))


def _aspp() -> nn.Module:
    def rate(r: int) -> nn.Module:
        return nn.Conv2d(4, 4, 3, padding=r, dilation=r, bias=False)

    branches = nn.ModuleList([nn.Conv2d(4, 4, 1, bias=False), rate(6), rate(12), rate(18)])
    return Wired(
        lambda m, x: m.project(torch.cat([branch(x) for branch in m.branches], 1)),
        branches=branches,
        project=nn.Conv2d(16, 4, 1, bias=False),
    )


def _unequal() -> nn.Module:
    """A branch at half the resolution, brought back and added: centres lie apart."""
    return Wired(
        lambda m, x: m.fine(x) + m.coarse(x),
        fine=nn.Conv2d(3, 8, 3, padding=1),
        coarse=nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
        ),
    )  # fmt: skip


def _u_net() -> nn.Module:
    def double(m: int, n: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(m, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1), nn.ReLU()
        )

    def wire(m: nn.Module, x: Tensor) -> Tensor:
        first = m.get_submodule("first")(x)
        below = m.get_submodule("below")(m.get_submodule("pool")(first))
        joined = torch.cat([first, m.get_submodule("up")(below)], 1)
        found: Tensor = m.get_submodule("last")(joined)
        return found

    return Wired(
        wire, first=double(1, 4), pool=nn.MaxPool2d(2), below=double(4, 8),
        up=nn.ConvTranspose2d(8, 4, 2, 2), last=double(8, 4),
    )  # fmt: skip


BRANCHES = (
    Sample("residual, stride 2", (1, 3, 29, 27),
           (27 * 8 + 16) + (9 * 8 * 16 + 32) + (9 * 16 * 16 + 32) + (8 * 16 + 32),
           27 * 8 * 29 * 27 + (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16) * 15 * 14, _residual),
    Sample("inverted bottlenecks", (1, 3, 41, 37),
           (27 * 8 + 16) + 2 * ((8 * 32 + 64) + (9 * 32 + 64) + (32 * 8 + 16)),
           (27 * 8 + 8 * 32) * 21 * 19 + (9 * 32 + 32 * 8) * 11 * 10
           + (8 * 32 + 9 * 32 + 32 * 8) * 11 * 10, _inverted),
    Sample("dense block", (1, 3, 20, 18),
           (27 * 8 + 8) + (2 * 8 + 9 * 8 * 4) + (2 * 12 + 9 * 12 * 4) + (2 * 16 + 9 * 16 * 4),
           (27 * 8 + 9 * 8 * 4 + 9 * 12 * 4 + 9 * 16 * 4) * 20 * 18, _dense),
    Sample("ASPP, rates 1×1, 6, 12, 18", (1, 4, 43, 41), 4 * 4 + 3 * 9 * 4 * 4 + 16 * 4,
           (4 * 4 + 3 * 9 * 4 * 4 + 16 * 4) * 43 * 41, _aspp),
    Sample("two branches of unequal stride", (1, 3, 26, 22), 2 * (27 * 8 + 8) + (9 * 8 * 8 + 8),
           27 * 8 * 26 * 22 + (27 * 8 + 9 * 8 * 8) * 13 * 11, _unequal),
    # The 2×2 transposed convolution does not overlap: 4·8·4 at each of the 15×14 positions below.
    Sample("U-Net", (1, 1, 30, 28),
           (9 * 1 * 4 + 4) + (9 * 4 * 4 + 4) + (9 * 4 * 8 + 8) + (9 * 8 * 8 + 8)
           + (4 * 8 * 4 + 4) + (9 * 8 * 4 + 4) + (9 * 4 * 4 + 4),
           (9 * 1 * 4 + 9 * 4 * 4 + 9 * 8 * 4 + 9 * 4 * 4) * 30 * 28
           + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 * 4) * 15 * 14, _u_net),
)  # fmt: skip
