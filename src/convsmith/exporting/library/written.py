"""What was written as a C library, for whom, and how it was checked."""

from __future__ import annotations

from dataclasses import dataclass

from convsmith.exporting.exported import Exported
from convsmith.report import Table

__all__ = ["ExportedLibrary"]


@dataclass(frozen=True, repr=False, kw_only=True)
class ExportedLibrary(Exported):
    """A network that was written as a C library.

    Attributes:
        path: the folder.
        format: `c`.
        nbytes: the size of all files.
        target: the machine that it is for.
        isas: the instruction sets of its kernels, widest first.
        weights: bytes of the weights as kernels take them.
        library: bytes of the shared library beyond the weights.
        arena: bytes that a network takes when it is created.
        kernels: how many there are.
        files: the names of what lies in the folder.
    """

    target: str
    isas: tuple[str, ...]
    weights: int
    library: int
    arena: int
    kernels: int
    files: tuple[str, ...]

    def table(self) -> Table:
        """Inputs and outputs, and whether they were checked."""
        plain = Exported.table(self)
        title = (
            f"{self.path.name} for {self.target}: {self.parameters:,} parameters, {self.library:,} "
            f"bytes of code, {self.arena:,} of memory"
        )
        return Table(plain.columns, plain.rows, title=title, note=plain.note)

    def __repr__(self) -> str:
        error = "unchecked" if self.error is None else f"error {self.error:.1e}"
        path = str(self.path)
        return f"ExportedLibrary({path!r} for {self.target}: {self.library:,} bytes, {error})"
