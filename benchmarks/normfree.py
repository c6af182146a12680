"""A network without norms: standardised weights, scaled activations, channel gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["eca_nfnet_l0"]

GAMMA = 1.7881293296813965
"""What makes the variance of SiLU of a normal variable one."""


class _ScaledConv(nn.Conv2d):
    """Weights of mean 0 and variance 1 / fan-in, times a gain per channel (Brock et al. 2021)."""

    def __init__(self, m: int, n: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(m, n, kernel, stride, kernel // 2, groups=groups)
        self.gain = nn.Parameter(torch.ones(n, 1, 1, 1))
        self.scale = self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        gain = (self.gain * self.scale).view(-1)
        weight = F.batch_norm(flat, None, None, gain, training=True, momentum=0.0, eps=1e-5)
        weight = weight.reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, 1, self.groups)


class _ChannelGate(nn.Module):
    """Means of channels, a short convolution over them, a sigmoid (Wang et al. 2020)."""

    def __init__(self, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3)).unsqueeze(1)
        gate: Tensor = self.conv(means).sigmoid().reshape(x.shape[0], -1, 1, 1)
        return x * gate


def _act(x: Tensor) -> Tensor:
    return F.silu(x) * GAMMA


class _Block(nn.Module):
    def __init__(self, m: int, n: int, stride: int, beta: float) -> None:
        super().__init__()
        few, self.beta = n // 4, beta
        self.shortcut: nn.Module | None = None
        if stride > 1 or m != n:
            pool = [nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)]
            self.shortcut = nn.Sequential(*(pool if stride > 1 else []), _ScaledConv(m, n))
        self.conv1 = _ScaledConv(m, few)
        self.conv2 = _ScaledConv(few, few, 3, stride, few // 64)
        self.conv3 = _ScaledConv(few, few, 3, 1, few // 64)
        self.conv4 = _ScaledConv(few, n)
        self.gate = _ChannelGate()

    def forward(self, x: Tensor) -> Tensor:
        out = _act(x) * self.beta
        short = x if self.shortcut is None else self.shortcut(out)
        out = self.conv2(_act(self.conv1(out)))
        out = self.gate(self.conv4(_act(self.conv3(_act(out)))))
        found: Tensor = out * 2.0 * 0.2 + short
        return found


class _Activation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _act(x)


def eca_nfnet_l0() -> nn.Module:
    """Brock et al. 2021 in the size and with the gates that timm calls ECA-NFNet-L0."""
    layers: list[nn.Module] = []
    m = 3
    for n, stride in ((16, 2), (32, 1), (64, 1), (128, 2)):
        layers += [*([_Activation()] if layers else []), _ScaledConv(m, n, 3, stride)]
        m = n
    variance = 1.0
    for n, times in ((256, 1), (512, 2), (1536, 6), (1536, 3)):
        for i in range(times):
            stride = 2 if not i and n != 256 else 1
            layers.append(_Block(m, n, stride, variance**-0.5))
            variance = (1.0 if not i else variance) + 0.2**2
            m = n
    return nn.Sequential(
        *layers, _ScaledConv(m, 2304), _Activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2304, 1000),
    )  # fmt: skip
