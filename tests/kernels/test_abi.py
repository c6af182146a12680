"""The executor and Python agree on memory, or it is not used."""

from __future__ import annotations

import ctypes
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("halide")

from convsmith.errors import ConvsmithError
from convsmith.kernels import abi as module
from convsmith.kernels.abi import ARGUMENT, CALL, Abi, read_abi
from convsmith.kernels.isa import Isa
from convsmith.kernels.library import Library, compiler
from convsmith.runtime.execution.program import Program
from convsmith.runtime.execution.team import Team


@pytest.fixture
def library(isa: Isa) -> Library:
    """An executor for this machine."""
    return Library(isa)


def _executor(tmp_path: Path, source: str) -> ctypes.CDLL:
    """A shared object with this code."""
    command = compiler()
    assert command is not None
    (tmp_path / "other.c").write_text(source)
    options = ["-shared", "-fPIC", "-o", str(tmp_path / "other.so"), str(tmp_path / "other.c")]
    subprocess.run([*command, *options], check=True)
    return ctypes.CDLL(str(tmp_path / "other.so"))


def _figures(abi: Abi) -> list[int]:
    *numbers, argument, call = abi
    return [*numbers, *argument, *call]


def test_both_sides_agree(library: Library) -> None:
    abi = library.abi
    assert abi is not None
    assert abi.argument[0] == ARGUMENT.itemsize == 56
    assert abi.call[0] == CALL.itemsize == 16
    assert len({abi.busy, abi.refused, 0}) == 3


@pytest.mark.parametrize("place", [0, *range(6, 15)])
def test_every_difference_is_found(library: Library, tmp_path: Path, place: int) -> None:
    assert library.abi is not None
    figures = _figures(library.abi)
    assert len(figures) == 15
    figures[place] += 8
    values = ", ".join(map(str, [len(figures), *figures]))
    other = _executor(tmp_path, f"const int convsmith_abi[] = {{{values}}};")
    with pytest.raises(ConvsmithError, match=r"other\.so does not fit this version") as error:
        read_abi(other, "other.so")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("int nothing;", "does not say what it expects"),
        ("const int convsmith_abi[] = {3, 1, 2, 3};", "gives 3 figures, not 15"),
    ],
)
def test_another_kind_of_executor(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(ConvsmithError, match=rf"other\.so does not fit.*{why}"):
        read_abi(_executor(tmp_path, source), "other.so")


def test_a_library_does_not_open_what_does_not_fit(
    isa: Isa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_VERSION", 0)
    with pytest.raises(ConvsmithError, match="does not fit this version of convsmith: its version"):
        Library(isa)


def _program(library: Library, arguments: int, dims: int) -> Program:
    """One call that fills a box, with more arguments than it reads."""
    rows = np.zeros(arguments, ARGUMENT)
    rows["base"] = -1
    rows[0] = (0, dims, 0, [2, 1, 1, 1], [1, 0, 0, 0], 4)
    rows[1]["value"] = np.float32(3).view(np.int32)
    calls = np.array([[(library.fill, 0, arguments)]], CALL)
    return Program(calls, rows, None, np.zeros(1))  # type: ignore[arg-type]


def test_calls_at_the_limits_run(library: Library) -> None:
    assert library.abi is not None
    memory = np.zeros(2, np.float32)
    program = _program(library, library.abi.max_arguments, library.abi.max_dims)
    Team(1).run(library, program, [memory.ctypes.data])
    assert memory.tolist() == [3, 3]


@pytest.mark.parametrize(("more_arguments", "more_dims"), [(1, 0), (0, 1), (1000, 0)])
@pytest.mark.parametrize("batch", [False, True])
def test_calls_beyond_the_limits_are_refused(
    library: Library, more_arguments: int, more_dims: int, batch: bool
) -> None:
    assert library.abi is not None
    memory = np.zeros(2, np.float32)
    arguments, dims = library.abi.max_arguments, library.abi.max_dims
    program = _program(library, arguments + more_arguments, dims + more_dims)
    bases = [memory.ctypes.data]
    run = partial(Team(1).run, library, program, bases)
    if batch:
        run = partial(Team(2).run_batch, library, program, [bases, bases], bases * 2)
    with pytest.raises(ConvsmithError, match=r"a program was refused: .* more than 24 arguments"):
        run()
    assert memory.tolist() == [0, 0]


def test_a_box_of_bf16_gets_the_upper_half_of_the_number(library: Library) -> None:
    memory = np.ones(4, np.uint16)
    program = _program(library, 2, 1)
    program.arguments[0] = (0, 1, 2, [2, 1, 1, 1], [1, 0, 0, 0], 2)
    program.arguments[1]["value"] = np.float32(-np.inf).view(np.int32)
    Team(1).run(library, program, [memory.ctypes.data])
    assert memory.tolist() == [1, 0xFF80, 0xFF80, 1]
