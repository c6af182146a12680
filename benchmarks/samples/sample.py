"""`Sample`: a small network with what is true about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Sample", "Wired", "conv_bn"]


@dataclass(frozen=True)
class Sample:
    """A network and its truths, counted by hand in plain numbers.

    Attributes:
        name: what is special about it.
        shape: of its input.
        params: trained values, a shared one once.
        macs: multiply-adds of convolutions, linear layers, matrix products and attention; on zero
            padding too, none for a bias; a transposed convolution at its input positions.
        build: makes it.
        last: path of the module that gives the last map; '' where that is the output.
        has_map: whether there is a map at all, and so a receptive field.
        aside: what a tool adds by its own convention where its figure does not tell it apart.
    """

    name: str
    shape: tuple[int, ...]
    params: int
    macs: int
    build: Callable[[], nn.Module]
    last: str = ""
    has_map: bool = True
    aside: Mapping[str, int] = field(default_factory=dict)

    def make(self) -> nn.Module:
        """The network in evaluation mode; positive weights, of the size that keeps values near 1.

        Counters do not look at values; a receptive field that is read from gradients needs values
        that do not cancel and activations that do not saturate.
        """
        model = self.build().eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                drawn = torch.rand(parameter.shape, generator=generator) + 0.5
                fan_in = parameter.numel() // len(parameter) if parameter.ndim > 1 else 1
                parameter.copy_(drawn / fan_in)
        return model

    def example(self) -> Tensor:
        """An input without zeros or negative values."""
        return torch.rand(self.shape, generator=torch.Generator().manual_seed(1)) + 0.5


class Wired(nn.Module):
    """Modules and parameters with a forward pass written out as a function of them."""

    def __init__(self, wire: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        self.wire = wire
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.wire(self, x)


def conv_bn(m: int, n: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias that keeps the size, and batch norm."""
    conv = nn.Conv2d(m, n, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n))
