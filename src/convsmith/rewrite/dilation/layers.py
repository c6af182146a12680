"""Layers that PyTorch lacks: uneven padding, dilated averages, maps cut to a grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from convsmith.rewrite.dilation.window import DilatedWindow

__all__ = [
    "DilatedAvgPool",
    "DilatedConv1d",
    "DilatedConv2d",
    "DilatedConv3d",
    "DilatedMaxPool",
    "Trim",
    "dilated_convolution",
    "set_geometry",
]

Windows = tuple[DilatedWindow, ...]


class _Dilated(_ConvNd):
    """A convolution over a finer grid, its weights those of the one it was made from."""

    windows: Windows
    fill: str

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x, which is padded on each side and cut at the end as it has to be."""
        shape = x.shape[-len(self.windows) :]
        sides = [w.sides(n) for w, n in zip(self.windows, shape, strict=True)]
        pads = [side for low, high, _ in reversed(sides) for side in (low, high)]
        rest = [side for *_, more in reversed(sides) for side in (0, more)]
        x = F.pad(x, pads, mode=self.fill) if any(pads) else x
        x = F.pad(x, rest) if any(rest) else x
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.windows) - 1]
        y = convolve(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return _cut(y, self.windows, shape)

    def extra_repr(self) -> str:
        """The convolution's own arguments, and the padding of each side."""
        padding = tuple(w.padding for w in self.windows)
        cut = ", trimmed" if any(w.trim for w in self.windows) else ""
        plain = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{plain}, sides={padding}, fill={self.fill!r}{cut}"


class DilatedConv1d(_Dilated):
    """A 1-D convolution over a finer grid."""


class DilatedConv2d(_Dilated):
    """A 2-D convolution over a finer grid."""


class DilatedConv3d(_Dilated):
    """A 3-D convolution over a finer grid."""


_BY_DIMS = (DilatedConv1d, DilatedConv2d, DilatedConv3d)


def dilated_convolution(conv: _ConvNd, windows: Windows, fill: str = "constant") -> _Dilated:
    """A convolution with the very parameters, hooks and flags of `conv`, and windows of its own.

    Args:
        conv: the convolution; its tensors are shared with the new one.
        windows: one per axis; their new stride, dilation and padding are what counts.
        fill: what it is padded with, as `F.pad` calls it.
    """
    new = _BY_DIMS[len(windows) - 1].__new__(_BY_DIMS[len(windows) - 1])
    new.__dict__ = dict(conv.__dict__)
    new.windows, new.fill = windows, fill
    new.stride = tuple(w.stride for w in windows)
    new.dilation = tuple(w.dilation for w in windows)
    new.padding = (0,) * len(windows)
    new.padding_mode = "zeros"
    return new


def set_geometry(conv: _ConvNd, windows: Windows) -> None:
    """Give a plain convolution the stride, dilation and padding of windows that are plain, too."""
    conv.stride = tuple(w.stride for w in windows)
    conv.dilation = tuple(w.dilation for w in windows)
    conv.padding = tuple(w.padding[0] for w in windows)
    conv._reversed_padding_repeated_twice = [w.padding[0] for w in reversed(windows) for _ in "lh"]


class DilatedMaxPool(nn.Module):
    """A max pool over a finer grid; borders count as -∞.

    >>> import torch
    >>> from convsmith.arithmetic import Window
    >>> pool = DilatedMaxPool([DilatedWindow.of(Window(3, 2, (1, 1)), rate=2, stride=1)])
    >>> pool(torch.arange(9.0).reshape(1, 1, 9))
    tensor([[[2., 3., 4., 5., 6., 7., 8., 7., 8.]]])
    """

    def __init__(self, windows: Sequence[DilatedWindow]) -> None:
        super().__init__()
        self.windows: Windows = tuple(windows)

    def forward(self, x: Tensor) -> Tensor:
        """The largest value under each window."""
        shape = x.shape[-len(self.windows) :]
        sides = [w.sides(n) for w, n in zip(self.windows, shape, strict=True)]
        pads = [n for low, high, more in reversed(sides) for n in (low, high + more)]
        x = F.pad(x, pads, value=-inf) if any(pads) else x
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.windows) - 1]
        y = pool(
            x,
            [w.old.kernel for w in self.windows],
            [w.stride for w in self.windows],
            0,
            [w.dilation for w in self.windows],
        )
        return _cut(y, self.windows, shape)

    def extra_repr(self) -> str:
        """Kernel, stride, dilation and padding."""
        return _words(self.windows)


class DilatedAvgPool(nn.Module):
    """An average over a finer grid: a dilated depthwise convolution with one weight everywhere.

    Args:
        windows: one per axis.
        count_include_pad: divide by the positions of the padding, too.
        divisor: divide by this instead.

    >>> import torch
    >>> from convsmith.arithmetic import Window
    >>> pool = DilatedAvgPool([DilatedWindow.of(Window(2, 2), rate=2, stride=1)])
    >>> pool(torch.arange(6.0).reshape(1, 1, 6))
    tensor([[[1., 2., 3., 4.]]])
    """

    def __init__(
        self,
        windows: Sequence[DilatedWindow],
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> None:
        super().__init__()
        self.windows: Windows = tuple(windows)
        self.count_include_pad, self.divisor = count_include_pad, divisor

    def forward(self, x: Tensor) -> Tensor:
        """The mean under each window."""
        dims = len(self.windows)
        shape = x.shape[-dims:]
        sides = [w.sides(n) for w, n in zip(self.windows, shape, strict=True)]
        y = self._sums(F.pad(x, [n for a, b, c in reversed(sides) for n in (a, b + c)]))
        if self.divisor is not None:
            y = y / self.divisor
        elif self.count_include_pad and not any(more for *_, more in sides):
            y = y / prod(w.old.kernel for w in self.windows)
        else:
            counted = [n for a, b, _ in reversed(sides) for n in (a, b)]
            rest = [n for _, _, c in reversed(sides) for n in (0, c)]
            ones = x.new_ones(1, 1, *shape)
            ones = F.pad(ones, counted, value=float(self.count_include_pad))
            counts = self._sums(F.pad(ones, rest)).clamp(min=1)
            y = y / counts.reshape(counts.shape[-y.dim() :] if y.dim() < dims + 2 else counts.shape)
        return _cut(y, self.windows, shape)

    def _sums(self, x: Tensor) -> Tensor:
        dims = len(self.windows)
        channels = x.shape[-dims - 1]
        ones = x.new_ones(channels, 1, *(w.old.kernel for w in self.windows))
        stride, dilation = [w.stride for w in self.windows], [w.dilation for w in self.windows]
        convolve = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
        return convolve(x, ones, None, stride, 0, dilation, channels)

    def extra_repr(self) -> str:
        """Kernel, stride, dilation, padding, and what the sum is divided by."""
        words = f"{_words(self.windows)}, count_include_pad={self.count_include_pad}"
        return words + ("" if self.divisor is None else f", divisor={self.divisor}")


class Trim(nn.Module):
    """Cuts a map after its last old position: of each axis, n positions stay.

    The least n' ≤ n with n' ≡ 1 modulo the axis' rate.
    """

    def __init__(self, rates: Sequence[int]) -> None:
        super().__init__()
        self.rates = tuple(rates)

    def forward(self, x: Tensor) -> Tensor:
        """The map without what follows its last old position."""
        for axis, rate in enumerate(self.rates, start=x.dim() - len(self.rates)):
            length = x.shape[axis]
            x = x.narrow(axis, 0, length - (length - 1) % rate)
        return x

    def extra_repr(self) -> str:
        """The rates."""
        return f"rates={self.rates}"


def _cut(y: Tensor, windows: Windows, shape: Sequence[int]) -> Tensor:
    """The output without what its windows do not want; untouched where they want all."""
    for axis, (window, n) in enumerate(zip(windows, shape, strict=True), y.dim() - len(windows)):
        length = window.output_length(n)
        y = y if y.shape[axis] == length else y.narrow(axis, 0, length)
    return y


def _words(windows: Windows) -> str:
    return (
        f"kernel_size={tuple(w.old.kernel for w in windows)}, "
        f"stride={tuple(w.stride for w in windows)}, "
        f"dilation={tuple(w.dilation for w in windows)}, "
        f"padding={tuple(w.padding for w in windows)}"
    )
