"""Transposed convolutions, as a plain convolution for each phase of the stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, prod

from convsmith.arithmetic import ConvTranspose, Window
from convsmith.network import Layer
from convsmith.runtime.lowering.block import Array, Block
from convsmith.runtime.lowering.convolution import Convolution, parameters
from convsmith.runtime.lowering.draft import Draft
from convsmith.runtime.lowering.lowering import COMPUTED_WEIGHT, Lowering, Weights

__all__ = ["TRANSPOSED", "Transposed", "phases"]


@dataclass(eq=False)
class Transposed(Convolution):
    """A transposed convolution; its weight becomes that of a plain one.

    Output o has taps k where o + low - k·dilation is a multiple of the stride: which ones depends
    on o mod stride alone. So the outputs of each such phase are a plain convolution of stride 1,
    and it writes every stride-th row and pixel.

    Attributes:
        extra: `output_padding` of rows and columns.
    """

    extra: tuple[int, int] = (0, 0)

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows above and below the first source that it reads, pixels left and right."""
        rows, columns = map(_margins, self.windows, self.extra)
        return rows, columns

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and pixels it gives for those of its first source."""
        rows, columns = (
            (n - 1) * w.stride - sum(w.padding) + w.extent + e
            for w, n, e in zip(self.windows, size, self.extra, strict=True)
        )
        return rows, columns

    def reads(self, which: int, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows of a source that rows `[start, stop)` need."""
        return self.windows[0].output_range(start, stop) if which == 0 else (start, stop)

    @cached_property
    def parts(self) -> Sequence[Block]:
        """A convolution for each phase of rows and columns."""
        rows, columns = (phases(window) for window in self.windows)
        step = self.windows[0].stride, self.windows[1].stride
        return [
            self._part((y, x), step, row, column)
            for y, row in enumerate(rows)
            for x, column in enumerate(columns)
        ]

    def _part(
        self,
        first: tuple[int, int],
        step: tuple[int, int],
        rows: tuple[list[int], int, int],
        columns: tuple[list[int], int, int],
    ) -> Block:
        def some(weight: Array) -> Array:
            return weight[:, :, rows[0]][:, :, :, columns[0]]

        weight, depthwise = self.weight, self.depthwise
        if depthwise is None:
            weight = some(weight)
        else:
            depthwise = some(depthwise[0]), depthwise[1]
        return _Phase(
            self.name,
            self.sources,
            self.target,
            (Window(len(rows[0]), dilation=rows[1]), Window(len(columns[0]), dilation=columns[1])),
            first=first,
            step=step,
            start=(rows[2], columns[2]),
            whole=self,
            weight=weight,
            bias=self.bias,
            groups=self.groups,
            depthwise=depthwise,
            middle=self.middle,
            first_slope=self.first_slope,
            activation=self.activation,
            slope=self.slope,
            products=self.products,
        )

    def macs(self, size: tuple[int, int]) -> int:
        """Multiply-adds for an output of this size: each tap once a stride."""
        strides = prod(window.stride for window in self.windows)
        if self.depthwise is None:
            return self.weight.size * size[0] * size[1] // strides
        return (self.weight.size + self.depthwise[0].size // strides) * size[0] * size[1]


@dataclass(eq=False)
class _Phase(Convolution):
    """The outputs of one phase, as a plain convolution that begins at row and pixel `start`.

    Attributes:
        whole: what it is a part of.
    """

    start: tuple[int, int] = (0, 0)
    whole: Transposed | None = None

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and pixels of the phase, for those of the first source."""
        assert self.whole is not None
        rows, columns = self.whole.size(size)
        return -(-(rows - self.first[0]) // self.step[0]), self.pixels(columns)

    def origin(self, row: int) -> tuple[int, int]:
        """Row and pixel of the first source where the window of a row's first pixel begins."""
        return self.start[0] + row, self.start[1]


def _refuse(layer: Layer, weights: Weights) -> str:
    if layer.name not in weights:
        return COMPUTED_WEIGHT
    conv = layer.operation.arithmetic
    if not isinstance(conv, ConvTranspose) or conv.dims != 2:
        return "not a two-dimensional convolution"
    # Outputs without a tap would need a kernel of their own: they are the bias alone.
    if not all(taps for window in conv.windows for taps, _, _ in phases(window)):
        return "some outputs have no tap"
    return ""


def _lower(draft: Draft, layer: Layer) -> None:
    conv, plain = layer.operation.arithmetic, parameters(draft, layer)
    assert isinstance(conv, ConvTranspose)
    plain["weight"] = _swapped(plain["weight"], conv.groups)
    down, right = conv.output_padding
    draft.place(Transposed(**plain, extra=(down, right)), layer.name)


TRANSPOSED = Lowering(_refuse, _lower)


def phases(window: Window) -> list[tuple[list[int], int, int]]:
    """For each phase of a transposed axis its taps, their dilation, and where the first begins.

    Output q·stride + phase reads tap t of the list at input q + begin + t·dilation.

    >>> phases(Window(3, stride=2, padding=(1, 1)))
    [([1], 1, 0), ([2, 0], 1, 0)]
    """
    low, stride, dilation = window.padding[0], window.stride, window.dilation
    result = []
    for phase in range(stride):
        taps = [
            tap
            for tap in reversed(range(window.kernel))
            if (phase + low - tap * dilation) % stride == 0
        ]
        begin = (phase + low - taps[0] * dilation) // stride if taps else 0
        result.append((taps, dilation // gcd(stride, dilation), begin))
    return result


def _swapped(weight: Array, groups: int) -> Array:
    """A transposed weight (in, out / groups, ...) as a plain one, (out, in / groups, ...)."""
    split = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    return split.reshape(-1, *split.shape[2:])


def _margins(window: Window, extra: int) -> tuple[int, int]:
    first = window.output_range(0, 1)[0]
    return max(0, -first), max(0, (window.extent - 1 + extra - window.padding[1]) // window.stride)
