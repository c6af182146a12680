"""Kernels that are needed, each under a number: nothing is compiled or loaded here."""

from __future__ import annotations

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel
from convsmith.kernels.library import Library
from convsmith.kernels.rows import Pack, Unpack
from convsmith.kernels.watching import InPython

__all__ = ["Collected"]


class Collected(Library):
    """A library where a number stands for a function: its place in `kernels`.

    Args:
        isa: the instruction set of the kernels, which this machine need not have.
        shuffles: whether the executor packs and unpacks planes on such a machine; kernels do, else.

    Attributes:
        kernels: a kernel each, or the name of a function of the executor. The first is no call.
    """

    def __init__(self, isa: Isa, shuffles: bool) -> None:
        self.isa = isa
        self.executor, self.abi, self.watching = None, None, InPython()
        self.kernels: list[Kernel | str] = ["", "fill"]
        if shuffles:
            self.kernels += ["pack", "unpack"]
        self._functions = {}
        self._shuffles = shuffles

    @property
    def fill(self) -> int:
        """The number of the function that fills a box."""
        return self.kernels.index("fill")

    @property
    def pack(self) -> int:
        """The number of what packs planes."""
        return self._moving("pack", Pack(0, planar=True))

    @property
    def unpack(self) -> int:
        """The number of what unpacks planes."""
        return self._moving("unpack", Unpack(planar=True))

    def _moving(self, name: str, kernel: Kernel) -> int:
        return self.kernels.index(name) if self._shuffles else self.address(kernel)

    def _load(self, kernel: Kernel) -> int:
        self.kernels.append(kernel)
        return len(self.kernels) - 1
