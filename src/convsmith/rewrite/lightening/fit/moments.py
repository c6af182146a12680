"""What convolutions see: second moments of the patches of each input channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.network import submodule, untouched
from convsmith.rewrite.surgery import watching

__all__ = ["Moments", "covariance", "patch_moments", "patches"]

# Values of unfolded patches that are in memory at a time, in float64: 64 MiB.
_CHUNK = 2**23


@dataclass(eq=False)
class Moments:
    """Sums over patches: of their outer products (channels, taps, taps), and of themselves."""

    products: Tensor
    sums: Tensor
    count: int = 0

    @property
    def covariance(self) -> Tensor:
        """The covariance of the taps of each channel, (channels, taps, taps).

        The mean is left out because it is the bias, or the batch norm that follows, that answers
        for it.
        """
        mean = self.sums / self.count
        return self.products / self.count - mean[:, :, None] * mean[:, None, :]


def patch_moments(
    model: nn.Module, batches: Sequence[Tensor], paths: Iterable[str]
) -> dict[str, Moments]:
    """The moments of the named convolutions, in one pass over the images, in float64.

    A transposed convolution has none: its kernel lies on the output.
    """
    moments: dict[str, Moments] = {}
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(untouched(model))
        for path in paths:
            conv = submodule(model, path)
            assert isinstance(conv, _ConvNd)
            if conv.transposed:
                continue
            taps = prod(conv.kernel_size)
            moments[path] = Moments(
                torch.zeros(conv.in_channels, taps, taps, dtype=torch.float64),
                torch.zeros(conv.in_channels, taps, dtype=torch.float64),
            )
            stack.enter_context(watching(conv, partial(_add, conv, moments[path])))
        for batch in batches:
            model(batch)
    return moments


def covariance(moments: Mapping[str, Moments], path: str) -> Tensor | None:
    """What is known of the patches of a convolution."""
    return moments[path].covariance if path in moments else None


def patches(conv: _ConvNd, maps: Tensor) -> Tensor:
    """The values under the kernel at each place, (images, channels, taps, places), any dimension.

    >>> conv = nn.Conv2d(1, 1, 2)
    >>> patches(conv, torch.arange(6.0).reshape(1, 1, 2, 3))[0, 0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]
    """
    sides = conv._reversed_padding_repeated_twice
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    windows = F.pad(maps, sides, mode=mode) if any(sides) else maps
    dims = len(conv.kernel_size)
    for axis, (k, s, d) in enumerate(
        zip(conv.kernel_size, conv.stride, conv.dilation, strict=True), start=2
    ):
        windows = windows.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    # (images, channels, places per axis…, taps per axis…)
    order = (0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))
    return windows.permute(order).reshape(*maps.shape[:2], prod(conv.kernel_size), -1)


def _add(conv: _ConvNd, moments: Moments, arguments: tuple[Any, ...], _: Any) -> None:
    maps: Tensor = arguments[0].detach()
    taps = prod(conv.kernel_size)
    step = max(1, _CHUNK // max(1, taps * maps[:, 0].numel()))
    for first in range(0, maps.shape[1], step):
        part = patches(conv, maps[:, first : first + step]).transpose(0, 1).permute(0, 2, 1, 3)
        values = part.flatten(2).double().cpu()
        moments.products[first : first + step] += values @ values.mT
        moments.sums[first : first + step] += values.sum(2)
    moments.count += values.shape[2]
