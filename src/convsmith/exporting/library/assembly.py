"""Kernels as assembly for a target, under names of their own."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import halide as hl

from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel

__all__ = ["asks_for_memory", "assembled", "symbol"]

_BARE = ("no_asserts", "no_bounds_query", "no_runtime")
_MEMORY = "halide_malloc", "halide_free"


def symbol(name: str, isa: Isa, kernel: Kernel) -> str:
    """What a kernel is called in a library."""
    return f"{name}_{isa.name}_{kernel.name}"


def assembled(kernel: Kernel, isa: Isa, system: str, name: str, number: int) -> str:
    """A kernel in assembly.

    Args:
        kernel: the kernel.
        isa: its instruction set.
        system: processor and system, as Halide calls them.
        name: of the library, which all symbols begin with.
        number: tells its local labels from those of others in the same file.
    """
    own = symbol(name, isa, kernel)
    function, arguments = kernel.pipeline(isa)
    more = isa.bf16 if kernel.numbers.products else ()
    target = hl.Target("-".join([system, *isa.features, *more, *_BARE]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.s")
        function.compile_to_assembly(str(path), arguments, own, target)
        text = path.read_text()
    for wanted in _MEMORY:
        text = re.sub(rf"\b(_?){wanted}\b", rf"\1{wanted.replace('halide', name)}", text)
    if system.endswith("-osx"):
        return _of_apple(text, number)
    if system.startswith("wasm"):
        # Who made it, which a file may say once; objects have sections, which the linker drops.
        text = re.sub(r"(?ms)^\s*\.section\s+\.custom_section\..*?(?=^\s*\.section|\Z)", "", text)
    else:
        text = _without_description(text, own)
    # Libraries export what their header says, and a static one leaves other names free.
    text = re.sub(r"(?m)^(\s*)\.globl\s+(\S+).*$", r"\1.globl \2\n\1.hidden \2", text)
    return re.sub(r"\.L(\w)", rf".L{number}_\1", text)


def asks_for_memory(text: str, name: str) -> bool:
    """Whether a kernel of a library calls for memory while it runs."""
    return re.search(rf"\b_?{name}_malloc\b", text) is not None


def _of_apple(text: str, number: int) -> str:
    """The same in Apple's dialect: what is not read, its linker leaves out."""
    text = re.sub(r"(?m)^\s*\.build_version\b.*\n", "", text)
    text = re.sub(r"(?m)^(\s*)\.globl\s+(\S+).*$", r"\1.globl \2\n\1.private_extern \2", text)
    return re.sub(r"\b(L(?=\w)|l(?=[A-Z_]))", rf"\g<1>{number}_", text)


def _without_description(text: str, own: str) -> str:
    """Leave out what describes a kernel's arguments to Halide's tools: half of its bytes."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*\.(ident|file|addrsig)", line)]
    lines = _without(lines, f"{own}_metadata", "function")
    while True:
        text = "\n".join(lines)
        objects = re.findall(r"(?m)^\s*\.type\s+(\.L\S+?),[@%]object", text)
        unread = [
            label
            for label in objects
            # In its own definition: type, label, size twice or once.
            if len(re.findall(rf"(?m)^(?!\s*\.(?:type|size)).*{re.escape(label)}\b(?!:)", text))
            == 0
        ]
        if not unread:
            return text + "\n"
        for label in unread:
            lines = _without(lines, label, "object")


def _without(lines: list[str], label: str, kind: str) -> list[str]:
    """Lines without the definition of a label, from its type to its size; sections stay."""
    kept, inside = [], False
    start = re.compile(rf"\s*\.type\s+{re.escape(label)},[@%]{kind}")
    end = re.compile(rf"\s*\.size\s+{re.escape(label)},")
    globl = re.compile(rf"\s*\.globl\s+{re.escape(label)}\b")
    for line in lines:
        inside = inside or start.match(line) is not None
        if not globl.match(line) and (not inside or re.match(r"\s*\.section|\s*\.text", line)):
            kept.append(line)
        if end.match(line):
            inside = False
    return kept
