"""One axis of a convolution or pool that slides over a finer grid than it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convsmith.arithmetic import Conv, Window
from convsmith.network import Layer

__all__ = ["DilatedWindow", "windows_of"]


@dataclass(frozen=True, slots=True)
class DilatedWindow:
    """A window whose input has `rate` times the positions that it had.

    Its taps move `rate` times apart and its padding grows by `rate`; then positions 0, r, 2r, … of
    its output are what the old window gave, where r = rate · old stride / new stride. Let the
    input have rate·(L - 1) + 1 + e positions, 0 ≤ e < rate, for the old L. With
    A = L + padding - dilation·(kernel - 1) - 1 the old output has ⌊A / s⌋ + 1 positions and the new
    one ⌊(rate·A + e) / s'⌋ + 1, which lies between r·⌊A / s⌋ + 1 and r·(⌊A / s⌋ + 1).

    Attributes:
        old: the window that was trained.
        rate: positions of the new input for one of the old.
        stride: the new stride; it divides rate · old stride.
        dilation: the new dilation.
        padding: the new padding, low and high.
        ceil: the old length was rounded up.
        trim: the output ends at its last old position, so that its length is r·(L - 1) + 1.

    >>> window = DilatedWindow.of(Window(kernel=3, stride=2, padding=(1, 1)), rate=1, stride=1)
    >>> window.rate_out, window.output_length(8), window.output_length(7)
    (2, 8, 7)
    """

    old: Window
    rate: int
    stride: int
    dilation: int
    padding: tuple[int, int]
    ceil: bool = False
    trim: bool = False

    @classmethod
    def of(
        cls, old: Window, rate: int, stride: int, *, ceil: bool = False, trim: bool = False
    ) -> DilatedWindow:
        """The exact form of a window."""
        low, high = old.padding
        return cls(
            old, rate, stride, rate * old.dilation, (rate * low, rate * high), ceil=ceil, trim=trim
        )

    @property
    def rate_out(self) -> int:
        """Positions of the new output for one of the old."""
        return self.rate * self.old.stride // self.stride

    @property
    def is_plain(self) -> bool:
        """Whether an ordinary layer can do it: symmetric, nothing extended, nothing cut off."""
        low, high = self.padding
        return low == high >= 0 and not self.trim and not self.extends

    @property
    def extends(self) -> bool:
        """Whether the output reaches further than full windows do.

        Windows side by side, such as a 2×2 pool of stride 2, would else lose the last positions of
        the map each time a stride goes; and a length that is rounded up has to be reached.
        """
        apart = self.stride < self.old.stride and 1 < self.old.extent <= self.old.stride
        return self.ceil or apart

    @property
    def is_changed(self) -> bool:
        """Whether it is another window than the old one."""
        same = (self.stride, self.dilation, self.padding) == (
            self.old.stride,
            self.old.dilation,
            self.old.padding,
        )
        return self.rate > 1 or not same or (self.trim and self.rate_out > 1)

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last."""
        return self.dilation * (self.old.kernel - 1) + 1

    def old_length(self, length: int) -> int:
        """The output positions that the old window would have had."""
        return self.old.output_length(-(-length // self.rate), ceil_mode=self.ceil)

    def output_length(self, length: int) -> int:
        """The output positions for an input of `length`."""
        if not self.is_changed:
            return self.old_length(length)
        r = self.rate_out
        least = r * (self.old_length(length) - 1) + 1
        if self.trim:
            return least
        natural = (length + sum(self.padding) - self.extent) // self.stride + 1
        if not self.extends:
            return natural
        # As long as the map of a layer that keeps the size, to which such a map may be added.
        return min(max(-(-length // self.stride), least), least + r - 1)

    def sides(self, length: int) -> tuple[int, int, int]:
        """Padding before and after an input of `length`, and more after it that no value fills."""
        needed = (self.output_length(length) - 1) * self.stride + self.extent
        low, high = self.padding
        more = needed - length - low - high
        return low, high, max(0, more)


def windows_of(layer: Layer) -> tuple[tuple[Window, ...], bool]:
    """The windows of a convolution or pool, and whether their lengths are rounded up."""
    spec, settings = layer.operation.arithmetic, layer.operation.settings
    if isinstance(spec, Conv):
        return spec.windows, False
    # Not every pool has an arithmetic: a divisor of its own, or much padding.
    dims = int(layer.operation.name.split("pool")[1][0])
    kernel = _each(settings["kernel_size"], dims)
    stride = _each(settings["stride"] or kernel, dims)
    padding, dilation = _each(settings["padding"], dims), _each(settings.get("dilation", 1), dims)
    each = zip(kernel, stride, padding, dilation, strict=True)
    return (
        tuple(Window(k, s, (p, p), d) for k, s, p, d in each),
        bool(settings["ceil_mode"]),
    )


def _each(value: Any, dims: int) -> tuple[int, ...]:
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * dims if len(values) == 1 else values)
