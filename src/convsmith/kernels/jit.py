"""Kernels without a C compiler: Halide compiles them in memory, Python makes the calls.

Right results, slowly: a call costs tens of microseconds, holds the interpreter's lock, and nothing
is kept for the next process.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import halide as hl
import numpy as np

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, target
from convsmith.kernels.library import Library, compiler
from convsmith.kernels.rows import Pack, Unpack
from convsmith.kernels.watching import InPython

__all__ = ["JitLibrary", "open_library"]

# As in library.py, but for the runtime: here it is Halide's own.
_BARE = ("no_asserts", "no_bounds_query")

_Function = Callable[[list[Any]], None]


def open_library(isa: Isa) -> Library:
    """The kernels for an instruction set, by whichever means this machine has.

    Raises:
        ConvsmithError: for a C compiler that fails.
    """
    if compiler() is not None:
        return Library(isa)
    message = "no C compiler: kernels run through the JIT, slowly; install gcc or clang, or set CC"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
    return JitLibrary(isa)


class JitLibrary(Library):
    """A library where a number stands for a function, and `interpret` for the executor."""

    def __init__(self, isa: Isa) -> None:
        self.isa = isa
        self.executor, self.abi, self.watching = None, None, InPython()
        self._functions: dict[str, int] = {}
        self._compiled: list[_Function] = [lambda arguments: None, _fill]

    @property
    def fill(self) -> int:
        """The number of the function that fills a box."""
        return 1

    @property
    def pack(self) -> int:
        """The number of the function for planar tensors."""
        return self.address(Pack(0, planar=True))

    @property
    def unpack(self) -> int:
        """The number of the function for planar tensors."""
        return self.address(Unpack(planar=True))

    def interpret(self, calls: Any, arguments: Any, bases: Sequence[int]) -> None:
        """Make the calls of a program, one after another."""
        for step in range(calls.shape[1]):
            for function, first, count in calls[:, step].tolist():
                if function:
                    values = [
                        _argument(a, bases) for a in arguments[first : first + count].tolist()
                    ]
                    self._compiled[function](values)

    def _load(self, kernel: Kernel) -> int:
        self._compiled.append(self._compile(kernel))
        return len(self._compiled) - 1

    def _compile(self, kernel: Kernel) -> _Function:
        function, arguments = kernel.pipeline(self.isa)
        compiled = function.compile_to_callable(arguments, target(self.isa, *_BARE))
        real = [isinstance(a, hl.Param) and a.type().is_float() for a in arguments]

        def call(received: list[Any]) -> None:
            values = [
                float(np.int32(value).view(np.float32))
                if is_real
                else hl.Buffer(value)
                if isinstance(value, np.ndarray)
                else value
                for value, is_real in zip(received, [*real, False], strict=True)
            ]
            compiled(*values)

        return call


def _argument(
    argument: tuple[int, int, int, Sequence[int], Sequence[int], int], bases: Sequence[int]
) -> Any:
    """A number, or an array over memory of float32; its axes from the outermost on."""
    base, value, offset, extents, strides, _ = argument
    if base < 0:
        return value
    shape, steps = list(extents[:value])[::-1], list(strides[:value])[::-1]
    last = sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    memory: Any = (ctypes.c_float * (last + 1)).from_address(bases[base] + offset)
    flat: Any = np.frombuffer(memory, np.float32)
    return np.lib.stride_tricks.as_strided(flat, shape, [4 * step for step in steps])


def _fill(arguments: list[Any]) -> None:
    box, bits = arguments
    box[...] = np.int32(bits).view(np.float32)
