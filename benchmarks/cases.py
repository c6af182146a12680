"""Small networks whose multiply-adds can be counted by hand, from what people really write.

They have no bias, no norm and no activation, so that every counter's convention gives the same
total and a different one is a mistake. Only the softmax of the module for attention and the gates
of the LSTM are left, which some add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convsmith as cs

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """A network with the truth about it.

    Attributes:
        name: what is special about it.
        shape: of its input.
        macs: multiply-adds, counted by hand; the product says how.
        build: makes it.
    """

    name: str
    shape: tuple[int, ...]
    macs: int
    build: Callable[[], nn.Module]


class _Calls(nn.Module):
    """A forward pass written out, with one trained kernel where it needs one."""

    def __init__(self, call: Callable[..., Tensor], *kernel: int) -> None:
        super().__init__()
        self.call = call
        if kernel:
            self.kernel = nn.Parameter(torch.rand(kernel))

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, *self.parameters())


class _Own(nn.Conv2d):
    """What libraries do to change one thing about a convolution."""


class _Twice(nn.Module):
    """One module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(self.conv(x))
        return found


class _MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(96, 4, bias=False, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(32, 64, bias=False, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.lstm(x)[0]
        return found


# k·k·m·n/groups times output positions; for a transposed convolution times input positions.
CASES = (
    Case("convolution", (1, 8, 33, 29), 9 * 8 * 12 * 33 * 29,
         partial(nn.Conv2d, 8, 12, 3, padding=1, bias=False)),
    Case("grouped, strided", (1, 8, 33, 29), 9 * 8 * 3 * 17 * 15,
         partial(nn.Conv2d, 8, 12, 3, stride=2, padding=1, groups=4, bias=False)),
    Case("dilated depthwise", (1, 8, 33, 29), 9 * 8 * 33 * 29,
         partial(nn.Conv2d, 8, 8, 3, padding=2, dilation=2, groups=8, bias=False)),
    Case("padding='same'", (1, 8, 33, 29), 9 * 8 * 12 * 33 * 29,
         partial(nn.Conv2d, 8, 12, 3, padding="same", bias=False)),
    Case("1-D", (1, 8, 101), 5 * 8 * 12 * 97, partial(nn.Conv1d, 8, 12, 5, bias=False)),
    Case("3-D", (1, 4, 9, 10, 11), 27 * 4 * 6 * 7 * 8 * 9,
         partial(nn.Conv3d, 4, 6, 3, bias=False)),
    Case("depthwise separable (cs.nn)", (1, 8, 33, 29), (9 * 8 + 8 * 12) * 33 * 29,
         partial(cs.nn.DepthwiseSeparableConv2d, 8, 12, 3, padding=1, bias=False)),
    Case("transposed, stride 2", (1, 8, 15, 13), 16 * 8 * 4 * 15 * 13,
         partial(nn.ConvTranspose2d, 8, 4, 4, stride=2, padding=1, bias=False)),
    Case("transposed, 4 groups", (1, 8, 15, 13), 16 * 8 * 3 * 15 * 13,
         partial(nn.ConvTranspose2d, 8, 12, 4, stride=2, padding=1, groups=4, bias=False)),
    Case("a subclass of nn.Conv2d", (1, 8, 33, 29), 9 * 8 * 12 * 33 * 29,
         partial(_Own, 8, 12, 3, padding=1, bias=False)),
    Case("weight norm", (1, 8, 33, 29), 9 * 8 * 12 * 33 * 29,
         lambda: nn.utils.parametrizations.weight_norm(
             nn.Conv2d(8, 12, 3, padding=1, bias=False))),
    Case("one module called twice", (1, 8, 33, 29), 2 * 9 * 8 * 8 * 33 * 29, _Twice),
    Case("F.conv2d", (1, 8, 33, 29), 9 * 8 * 12 * 33 * 29,
         partial(_Calls, lambda x, w: F.conv2d(x, w, padding=1), 12, 8, 3, 3)),
    Case("F.conv_transpose2d", (1, 8, 15, 13), 16 * 8 * 4 * 15 * 13,
         partial(_Calls, lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), 8, 4, 4, 4)),
    Case("F.linear", (1, 8, 20), 8 * 20 * 30, partial(_Calls, F.linear, 30, 20)),
    Case("nn.Linear on 50 tokens", (1, 50, 20), 50 * 20 * 30,
         partial(nn.Linear, 20, 30, bias=False)),
    Case("(x @ xᵀ) @ x", (1, 50, 24), 2 * 50 * 50 * 24,
         partial(_Calls, lambda x: (x @ x.transpose(1, 2)) @ x)),
    Case("einsum", (1, 50, 24), 50 * 50 * 24,
         partial(_Calls, lambda x: torch.einsum("bik,bjk->bij", x, x))),
    Case("scaled_dot_product_attention", (1, 4, 50, 24), 2 * 4 * 50 * 50 * 24,
         partial(_Calls, lambda x: F.scaled_dot_product_attention(x, x, x))),
    Case("nn.MultiheadAttention", (1, 50, 96), 4 * 50 * 96 * 96 + 2 * 50 * 50 * 96, _MultiHead),
    Case("nn.LSTM", (1, 20, 32), 20 * 4 * 64 * (32 + 64), _Recurrent),
)  # fmt: skip
