"""The machine code of kernels."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, target

__all__ = ["inner_loops", "instructions", "name_of"]


def instructions(kernel: Kernel, isa: Isa, folder: Path) -> list[str]:
    """Those of a kernel, with their addresses, compiled for such a processor on any machine."""
    tool = shutil.which("objdump") or pytest.skip("there is no objdump")
    function, arguments = kernel.pipeline(isa)
    more = isa.bf16 if kernel.numbers.products else ()
    path = folder / "kernel.o"
    wanted = target(isa, *more, "no_asserts", "no_bounds_query", "no_runtime")
    function.compile_to_object(str(path), arguments, "kernel", wanted)
    listing = subprocess.run(
        [tool, "-d", "--no-show-raw-insn", str(path)], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"^\s+([0-9a-f]+:\s+\S.*)$", listing, re.MULTILINE)


def inner_loops(code: list[str]) -> list[list[str]]:
    """The innermost loops: from the target of a jump back to that jump, with no other inside."""
    places = {int(line.partition(":")[0], 16): number for number, line in enumerate(code)}
    found: list[tuple[int, int]] = []
    for number, line in enumerate(code):
        jump = re.match(r"([0-9a-f]+):\s+j\w+\s+([0-9a-f]+)\b", line)
        if jump and int(jump[2], 16) <= int(jump[1], 16) and int(jump[2], 16) in places:
            found.append((places[int(jump[2], 16)], number))
    inner = [
        (a, b)
        for a, b in found
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in found)
    ]
    return [code[a : b + 1] for a, b in inner]


def name_of(instruction: str) -> str:
    """Without its address and its operands."""
    return instruction.partition(":")[2].split()[0]
