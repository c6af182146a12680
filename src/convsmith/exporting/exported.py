"""What was written, for whom, and how it was checked."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from convsmith.report import Column, Result, Table
from convsmith.text import times

__all__ = ["Exported", "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that goes into the file's network or comes out of it.

    Attributes:
        name: as the file calls it.
        role: `input` or `output`.
        shape: lengths; a name, such as `batch`, or an expression of names where any length serves.
    """

    name: str
    role: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, repr=False)
class Exported(Result):
    """A network that was written to a file.

    Attributes:
        path: the file.
        format: `onnx` or `cvs`.
        opset: the version of ONNX's operators; None for a compiled network.
        parameters: how many trained values it holds, as `inspect` counts them.
        nbytes: the size of the file.
        values: its inputs and outputs.
        checked: what ran it, and for which sizes; or why nothing did.
        error: the largest difference from the model, over the largest value; None if unchecked.
        notes: what a reader should know: sizes that are fixed, parameters that nothing reads.
    """

    path: Path
    format: str
    opset: int | None
    parameters: int
    nbytes: int
    values: tuple[Value, ...]
    checked: str
    error: float | None
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """Inputs and outputs, and whether they were checked."""
        error = "" if self.error is None else f", error {self.error:.1e}"
        opset = "" if self.opset is None else f", opset {self.opset}"
        return Table(
            [
                Column("name", "tensor"),
                Column("role", "role"),
                Column("shape", "size", format=_size),
            ],
            [(value.name, value.role, value.shape) for value in self.values],
            title=(
                f"{self.path.name}: {self.parameters:,} parameters{opset}, {self.nbytes:,} bytes"
            ),
            note=f"{self.checked}{error}",
        )

    def __repr__(self) -> str:
        error = "unchecked" if self.error is None else f"error {self.error:.1e}"
        return f"Exported({str(self.path)!r}: {self.parameters:,} parameters, {error})"


def _size(shape: tuple[int | str, ...]) -> str:
    """A shape for a reader: each expression in brackets of its own, and in no others.

    >>> _size(("batch", 4, "(((height - 1)//4)) + 1"))
    'batch×4×((height - 1) // 4 + 1)'
    """
    return times([_length(length) for length in shape])


def _length(length: int | str) -> int | str:
    if isinstance(length, int) or length.isidentifier():
        return length
    try:
        return f"({ast.unparse(ast.parse(length, mode='eval'))})"
    except SyntaxError:
        return f"({length})"
