"""What every kernel has: settings that make its name, and a Halide pipeline.

Buffers have the channels innermost, then the pixels of a row, then the rows. The rows of an input
are a ring: row r of the map lies in slot r mod `ring`, so that a few rows of memory stand for a map
of any height. Rows and pixels that pad the map are in the buffer already; no kernel knows borders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import halide as hl

from convsmith.kernels.isa import Isa

__all__ = ["Kernel", "Rows", "ints", "matrix", "result", "target", "vector"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Kernel:
    """The settings that are constants of the machine code; all else are arguments.

    A subclass is a frozen dataclass with a `pipeline`.
    """

    family: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """A readable name that is also a symbol of C."""
        return "_".join((self.family, *_words(astuple(self))))

    def pipeline(self, isa: Isa) -> tuple[Any, list[Any]]:
        """The scheduled output function and its arguments, the output itself left out."""
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
    """An input map: its buffer, the length of its ring, and the row of the first output row."""

    def __init__(self, name: str) -> None:
        self.buffer = hl.ImageParam(hl.Float(32), 3, name)
        self.ring = hl.Param(hl.Int(32), f"{name}_ring")
        self.row = hl.Param(hl.Int(32), f"{name}_row")
        self.buffer.dim(0).set_stride(1)
        for axis in range(3):
            self.buffer.dim(axis).set_min(0)

    def __getitem__(self, place: tuple[Any, Any, Any]) -> Any:
        c, x, y = place
        return self.buffer[c, x, (y + self.row) % self.ring]

    @property
    def arguments(self) -> list[Any]:
        """In the order in which every kernel takes them."""
        return [self.buffer, self.ring, self.row]


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
