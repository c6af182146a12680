"""A window is one axis of arithmetic: what slides along it, how far, and what it reads."""

from __future__ import annotations

from dataclasses import dataclass

from convsmith.arithmetic.normalise import count, per_side
from convsmith.arithmetic.positions import Positions
from convsmith.errors import ArgumentError

__all__ = ["PADDING_MODES", "Window", "source_index"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True, slots=True)
class Window:
    """`kernel` taps, `dilation` apart, moved by `stride` along an axis padded by `padding`.

    Output position o reads the input positions o·stride - low + j·dilation, 0 ≤ j < kernel
    (Dumoulin & Visin 2016, arXiv:1603.07285). A position below 0, or at or past the length of the
    input, is padding.

    >>> Window(kernel=3, stride=2, padding=(1, 1)).output_length(7)
    4
    >>> Window(kernel=3, dilation=2).reads(Positions.of([0]))
    Positions({0, 2, 4})
    """

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, count(name, getattr(self, name)))
        padding = per_side("padding", (self.padding,), dims=1)[0]
        object.__setattr__(self, "padding", padding)

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last: dilation·(kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def output_length(self, length: int, *, ceil_mode: bool = False) -> int:
        """The number of output positions for an input of `length`.

        ⌊(length + low + high - extent) / stride⌋ + 1, or with `ceil_mode` the ceiling, less a
        last window that would begin in the far padding (the rule of PyTorch's pools).

        Raises `ArgumentError` if there is no output.
        """
        low, high = self.padding
        room = length + low + high - self.extent
        outputs = (-(-room // self.stride) if ceil_mode else room // self.stride) + 1
        if ceil_mode:
            outputs -= (outputs - 1) * self.stride >= length + low
        if outputs < 1 or length < 1:
            raise ArgumentError(
                f"no output: {self.kernel} taps with dilation {self.dilation} span {self.extent}, "
                f"but {length} input positions + padding {low} + {high} = {length + low + high}"
            )
        return outputs

    def dropped(self, length: int) -> int:
        """How many positions at the far end flooring leaves unread by any window.

        >>> Window(kernel=3, stride=2).dropped(6)
        1
        """
        outputs = self.output_length(length)
        read_to = (outputs - 1) * self.stride - self.padding[0] + self.extent
        return min(length, max(0, length - read_to))

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """The range `[first, last + 1)` that outputs `[start, stop)` read, padding included.

        >>> Window(kernel=3, stride=2, padding=(1, 1)).input_range(0, 4)
        (-1, 8)
        """
        low = self.padding[0]
        if stop <= start:
            return (start * self.stride - low,) * 2
        return start * self.stride - low, (stop - 1) * self.stride - low + self.extent

    def output_range(self, start: int, stop: int) -> tuple[int, int]:
        """The range of outputs whose windows overlap inputs `[start, stop)`: the hull of readers.

        The outputs are not clipped: a real map begins at 0 and ends at its `output_length`.

        >>> Window(kernel=3, stride=2, padding=(1, 1)).output_range(0, 8)
        (0, 5)
        """
        low = self.padding[0]
        first = -((self.extent - 1 - start - low) // self.stride)
        if stop <= start:
            return first, first
        return first, (stop - 1 + low) // self.stride + 1

    def reads(self, outputs: Positions) -> Positions:
        """Exactly the input positions, padding included, that the given outputs read."""
        corners = outputs.scale(self.stride).shift(-self.padding[0])
        return corners.spread(self.kernel, self.dilation)

    def readers(self, inputs: Positions) -> Positions:
        """Exactly the outputs, not clipped, that read at least one of the given inputs.

        It is also what a transposed convolution with this window writes, and the backward walk
        through one.

        >>> Window(kernel=3, dilation=2).readers(Positions.of([4]))
        Positions({0, 2, 4})
        """
        reach = inputs.spread(self.kernel, self.dilation).shift(self.padding[0] - self.extent + 1)
        return reach.divide(self.stride)

    def real_taps(self, length: int, outputs: int) -> int:
        """How many (output, tap) pairs fall on one of `length` real positions, not on padding.

        >>> Window(kernel=3, padding=(1, 1)).real_taps(5, outputs=5)  # 15 taps less 2 on padding
        13
        """
        total = 0
        for tap in range(self.kernel):
            place = tap * self.dilation - self.padding[0]  # where output 0 has this tap
            first = max(0, -(place // self.stride))
            last = min(outputs - 1, (length - 1 - place) // self.stride)
            total += max(0, last - first + 1)
        return total


def source_index(position: int, length: int, mode: str) -> int | None:
    """The real position whose value a padded position takes; None where it is a zero.

    >>> [source_index(p, 4, "reflect") for p in (-2, -1, 0, 3, 4)]
    [2, 1, 0, 3, 2]
    """
    if 0 <= position < length:
        return position
    if mode == "zeros":
        return None
    if mode == "replicate":
        return 0 if position < 0 else length - 1
    if mode == "circular":
        return position % length
    period = 2 * length - 2
    folded = position % period if period else 0
    return min(folded, period - folded)
