"""A small network to walk through where no other is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SAMPLE", "small_network"]

SAMPLE = "convsmith.explore.samples:small_network"


def small_network() -> nn.Module:
    """Eleven layers of every kind of the lessons, for images of 3×32×32.

    >>> import torch
    >>> small_network()(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 4, 32, 32])
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=4),
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
        nn.Conv2d(32, 64, 1),
        nn.ReLU(),
        nn.Conv2d(64, 32, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(32, 16, 2, stride=2),
        nn.Conv2d(16, 4, 1),
    ).eval()
