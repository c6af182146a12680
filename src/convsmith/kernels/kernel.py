"""What every kernel has: settings that make its name, and a Halide pipeline.

Buffers have the channels innermost, then the pixels of a row, then the rows. The rows of an input
are a ring: row r of the map lies in slot r mod `ring`, so that a few rows of memory stand for a map
of any height. Rows and pixels that pad the map are in the buffer already; no kernel knows borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa

__all__ = [
    "Kernel", "Numbers", "Rows", "half", "ints", "is_nan", "matrix", "pairs", "result", "rounded",
    "target", "vector", "widened",
]  # fmt: skip

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Numbers:
    """Which numbers of a kernel are bf16; all others, and all sums, are float32.

    Attributes:
        source: the values of the map that it reads.
        target: those of the map that it writes: the results in float32, each rounded once, to the
            nearest, of two the even one.
        residual: those of a second map.
        products: the factors of its sums over channels, whose number is then even: neighbouring
            channels are multiplied in pairs.
    """

    source: bool = False
    target: bool = False
    residual: bool = False
    products: bool = False

    @property
    def word(self) -> str:
        """What a kernel's name says of them; nothing where all are float32."""
        marks = zip("strp", astuple(self), strict=True)
        return "".join(mark for mark, narrow in marks if narrow)


@dataclass(frozen=True)
class Kernel:
    """The settings that are constants of the machine code; all else are arguments.

    A subclass is a frozen dataclass with a `pipeline`.

    Attributes:
        numbers: which of its numbers are bf16.
    """

    family: ClassVar[str] = ""

    numbers: Numbers = field(default=Numbers(), kw_only=True)

    @property
    def name(self) -> str:
        """A readable name that is also a symbol of C."""
        _, *settings = astuple(self)
        form = [f"bf16{self.numbers.word}"] if self.numbers.word else []
        return "_".join((self.family, *form, *_words(tuple(settings))))

    def stored(self, value: Any) -> Any:
        """A result as the map that it is written to holds it."""
        return rounded(value) if self.numbers.target else value

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The scheduled output function and its arguments, the output itself left out."""
        raise NotImplementedError

    def scratch(self, isa: Isa, source: Sequence[int], target: Sequence[int]) -> int:
        """The bytes that a call asks for while it runs, at most, if it asks for any.

        Args:
            isa: that the kernel is for.
            source: the extents of the first buffer, innermost first.
            target: those of the last one, which is written.
        """
        raise NotImplementedError


def target(isa: Isa, *features: str) -> Any:
    """Halide's target: this system, with what an instruction set has and with more features."""
    host = str(hl.get_host_target()).split("-")
    return hl.Target("-".join([*host[:3], *isa.features, *features]))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, tuple):
        for item in value:
            yield from _words(item)
    elif not isinstance(value, str):
        yield str(int(value))
    else:
        yield value.translate(_SYMBOL)


_SYMBOL = str.maketrans({":": "_", ".": "p", "-": "m", "+": ""})


class Rows:
    """An input map: its buffer, the length of its ring, and the row of the first output row.

    Args:
        name: of the buffer.
        narrow: whether its values are bf16, the upper halves of float32.
        products: whether they are factors of products of bf16; `raw` then gives such.
    """

    def __init__(self, name: str, narrow: bool = False, products: bool = False) -> None:
        self.narrow, self.products = narrow, products
        kind = hl.BFloat(16) if products else hl.UInt(16) if narrow else hl.Float(32)
        self.buffer = hl.ImageParam(kind, 3, name)
        self.ring = hl.Param(hl.Int(32), f"{name}_ring")
        self.row = hl.Param(hl.Int(32), f"{name}_row")
        self.buffer.dim(0).set_stride(1)
        for axis in range(3):
            self.buffer.dim(axis).set_min(0)

    def __getitem__(self, place: tuple[Any, Any, Any]) -> Any:
        return widened(self.raw(place)) if self.narrow else self.raw(place)

    def of_word(self, pair: Any, parity: int, x: Any, y: Any) -> Any:
        """The even or odd one of two neighbouring channels.

        Of bf16 both lie in one word, which is loaded at once: that takes half as many instructions
        as to widen each by itself.
        """
        if not self.narrow:
            return self[2 * pair + parity, x, y]
        both = self.pair((2 * pair, x, y))
        bits = both & hl.u32(_HIGH) if parity else both << 16
        return hl.reinterpret(hl.Float(32), bits)

    def pair(self, place: tuple[Any, Any, Any]) -> Any:
        """The word of two neighbouring channels of bf16, the first of them being given."""
        c, x, y = place
        return hl.concat_bits([self.raw((c, x, y)), self.raw((c + 1, x, y))])

    def raw(self, place: tuple[Any, Any, Any]) -> Any:
        """A value as the map holds it."""
        c, x, y = place
        return self.buffer[c, x, (y + self.row) % self.ring]

    @property
    def arguments(self) -> list[Any]:
        """In the order in which every kernel takes them."""
        return [self.buffer, self.ring, self.row]


def widened(half: Any) -> Any:
    """The float32 of which a bf16, as bits, is the upper half."""
    return hl.reinterpret(hl.Float(32), hl.cast(hl.UInt(32), half) << 16)


def rounded(value: Any) -> Any:
    """The bf16 nearest to a float32, of two the even one, as bits; every NaN becomes the same."""
    bits = hl.reinterpret(hl.UInt(32), value)
    nearest = bits + hl.u32(0x7FFF) + ((bits >> 16) & hl.u32(1))
    # Added to the bits of a NaN, it could run over into those of a zero.
    return hl.u16(hl.select(is_nan(value), hl.u32(_NAN), nearest) >> 16)


def is_nan(value: Any) -> Any:
    """Whether a float32 is no number, by its bits.

    The compiler takes a sum or a product to be a number, and a comparison with it to be decided.
    """
    magnitude = hl.reinterpret(hl.UInt(32), value) & hl.u32(0x7FFFFFFF)
    return magnitude > hl.u32(0x7F800000)


def half(words: Any, channel: Any) -> Any:
    """The bf16 of a channel, as bits, from the word that it shares with its neighbour."""
    return hl.extract_bits(hl.UInt(16), words, channel % 2 * 16)


_NAN, _HIGH = 0x7FC00000, 0xFFFF0000


def vector(name: str) -> Any:
    """One number per channel."""
    buffer = hl.ImageParam(hl.Float(32), 1, name)
    buffer.dim(0).set_stride(1).set_min(0)
    buffer.set_host_alignment(ALIGNMENT)
    return buffer


def matrix(name: str, tile: int) -> Any:
    """Weights of pointwise sums: for each tile of outputs, for each input, `tile` numbers."""
    buffer = hl.ImageParam(hl.Float(32), 2, name)
    buffer.dim(0).set_stride(1).set_min(0).set_extent(tile)
    buffer.dim(1).set_min(0).set_stride(tile)
    buffer.set_host_alignment(ALIGNMENT)
    return buffer


def pairs(name: str, tile: int) -> Any:
    """The same in bf16: for each tile of outputs, for each two inputs, `tile` pairs."""
    buffer = hl.ImageParam(hl.BFloat(16), 3, name)
    buffer.dim(0).set_stride(1).set_min(0).set_extent(2)
    buffer.dim(1).set_min(0).set_extent(tile).set_stride(2)
    buffer.dim(2).set_min(0).set_stride(2 * tile)
    buffer.set_host_alignment(ALIGNMENT)
    return buffer


def ints(*names: str) -> list[Any]:
    """Arguments that are plain numbers."""
    return [hl.Param(hl.Int(32), name) for name in names]


def result(function: Any) -> Any:
    """Fix the layout of the output: channels innermost, everything from 0."""
    buffer = function.output_buffer()
    buffer.dim(0).set_stride(1)
    for axis in range(function.dimensions()):
        buffer.dim(axis).set_min(0)
    return function
