"""The files of a C library: its sources, filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from textwrap import wrap

from convsmith._version import __version__
from convsmith.exporting.exported import Value
from convsmith.exporting.library.tables import ALIGNMENT, Tables
from convsmith.exporting.library.targets import Target
from convsmith.kernels import abi
from convsmith.text import times

__all__ = ["HEADER", "Facts", "readme", "sources", "weights_file", "words"]

HEADER = 64
"""Bytes of a file of weights before the first of them: which network they belong to."""

_MAGIC = b"convsmith weights"
_OWN = Path(__file__).parent / "sources"
_EXECUTOR = "abi.h", "program.h", "program.c", "fill.c"
_SHUFFLES = "moves.c"


@dataclass(frozen=True)
class Facts:
    """What the files say of a network.

    Attributes:
        title: its name.
        name: of the library.
        machine: that it is for.
        values: inputs and outputs.
        arena: bytes.
        weights: bytes of their file.
        scratch: bytes that kernels ask for.
        left: layers that are not in it, each with the reason.
    """

    title: str
    name: str
    machine: Target
    values: tuple[Value, ...]
    arena: int
    weights: int
    scratch: int
    left: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[Value]:
        """What goes in."""
        return [value for value in self.values if value.role == "input"]

    @property
    def outputs(self) -> list[Value]:
        """What comes out."""
        return [value for value in self.values if value.role == "output"]


def words() -> frozenset[str]:
    """The names that the sources give to types, functions and variables of a whole file."""
    executor = Path(abi.__file__).parent
    files = [
        _OWN / "net.c",
        _OWN / "main.c",
        *(executor / each for each in (*_EXECUTOR, _SHUFFLES)),
    ]
    lines = [line for file in files for line in file.read_text().splitlines()]
    # What stands within braces and parentheses has a scope of its own.
    plain = [re.sub(r"/\*.*|\{.*\}|\([^*].*\)", "", line) for line in lines if line[:1].strip()]
    return frozenset(re.findall(r"[A-Za-z_]\w*", " ".join(plain))) - {"net"}


def weights_file(weights: bytes, program: str) -> bytes:
    """The weights after a header that says which program they are for."""
    digest = sha256(program.encode() + weights).digest()
    header = _MAGIC + digest[: HEADER - len(_MAGIC)]
    return header + bytes(HEADER - len(header)) + weights


def sources(
    facts: Facts, tables: Mapping[str, Tables], assembly: str, weights: bytes
) -> dict[str, str | bytes]:
    """Every file that is compiled or read by who compiles it, by its name.

    Args:
        facts: what they say.
        tables: by instruction set.
        assembly: of all kernels.
        weights: the whole file.
    """
    name = facts.name
    executor = Path(abi.__file__).parent
    shared = [*_EXECUTOR, *([_SHUFFLES] if facts.machine.shuffles else [])]
    files: dict[str, str | bytes] = {
        f"{name}.h": _filled("net.h.in", _in_header(facts), name),
        f"{name}.c": _filled("net.c", {}, name),
        f"{name}_tables.h": _renamed(_tables(facts, tables, weights), name),
        **{each: (executor / each).read_text() for each in shared},
        "kernels.s": assembly,
        "weights.s": _filled(facts.machine.weights, {"SIZE": str(facts.weights)}, name),
        "weights.bin": weights,
        "main.c": _filled("main.c", {}, name),
    }
    if facts.machine.is_web:
        files[f"{name}.js"] = _filled("net.js", _in_script(facts), name)
        files[f"{name}.worker.js"] = _filled("net.worker.js", {}, name)
        title = {"TITLE": escape(facts.title)}
        files["index.html"] = _filled("index.html.in", title, name)
    else:
        files["CMakeLists.txt"] = _filled("CMakeLists.txt", {}, name)
    return files


def readme(facts: Facts, library: int) -> str:
    """The text that goes with them."""
    rows = [f"| {v.role} | `{v.name}` | {_by(v.shape)} |" for v in facts.values]
    table = "\n".join(["| | tensor | size (float32) |", "|---|---|---|", *rows])
    words = {
        **_common(facts),
        "SHARED": facts.machine.shared("net"),
        "VALUES": "\n".join([table, *_what_is_left(facts, "")]),
        "LIBRARY": f"{library:,}",
        "ARENA": f"{facts.arena:,}",
    }
    return _filled(
        "README.wasm.md.in" if facts.machine.is_web else "README.md.in", words, facts.name
    )


def _what_is_left(facts: Facts, start: str) -> list[str]:
    """Which layers come after the outputs, for whoever has to compute them."""
    if not facts.left:
        return []
    lines = wrap(f"To be computed from the outputs: {'; '.join(facts.left)}.", 96)
    return [start.rstrip(), *(start + line.replace("*/", "* /") for line in lines)]


def _common(facts: Facts) -> dict[str, str]:
    return {"TITLE": facts.title, "TARGET": facts.machine.name, "VERSION": __version__}


def _in_script(facts: Facts) -> dict[str, str]:
    def described(values: Sequence[Value]) -> str:
        rows = [{"name": v.name, "shape": list(v.shape), "size": _count(v.shape)} for v in values]
        return json.dumps(rows)

    return {"INPUTS": described(facts.inputs), "OUTPUTS": described(facts.outputs)}


def _in_header(facts: Facts) -> dict[str, str]:
    values = [f" *     {v.role} {v.name}: {_by(v.shape)}" for v in facts.values]
    most = max(len(v.shape) for v in facts.values)
    lines = [f"#define NET_MAX_DIMS {most}"]
    for role, some in (("INPUT", facts.inputs), ("OUTPUT", facts.outputs)):
        shapes = [[*v.shape, *[0] * (most - len(v.shape))] for v in some]
        lines += [
            f"#define NET_{role}S {len(some)}",
            f"#define NET_{role}_NAMES {_braced(_quoted(v.name) for v in some)}",
            f"#define NET_{role}_DIMS {_braced(len(v.shape) for v in some)}",
            f"#define NET_{role}_SHAPES {_braced(map(_braced, shapes))}",
            f"#define NET_{role}_SIZES {_braced(_count(v.shape) for v in some)} /* values */",
        ]
    return {
        **_common(facts),
        "VALUES": "\n".join([*values, *_what_is_left(facts, " * ")]),
        "CONSTANTS": "\n".join(lines),
        "ARENA": str(facts.arena),
        "WEIGHTS": str(facts.weights),
        "INSTRUCTIONS": " or ".join(facts.machine.isas),
    }


def _tables(facts: Facts, tables: Mapping[str, Tables], weights: bytes) -> str:
    identity = ", ".join(map(str, weights[:HEADER]))
    variants = ", ".join(f"VARIANT_{isa}" for isa in facts.machine.isas)
    return "\n".join(
        [
            "/* The program, as net_create expands it. */",
            f"enum {{ ALIGNMENT = {ALIGNMENT}, SCRATCH = {facts.scratch} }};",
            "",
            "/* What weights.bin begins with. */",
            f"static const uint8_t identity[{HEADER}] = {{\n{_wrapped(identity)}\n}};",
            "",
            *[table.text for table in tables.values()],
            f"static const variant variants[] = {{{variants}}};",
            "",
        ]
    )


def _filled(source: str, words: Mapping[str, str], name: str) -> str:
    text = (_OWN / source).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return _renamed(text, name)


def _renamed(text: str, name: str) -> str:
    """The same for a library of another name than `net`."""
    if name == "net":
        return text
    text = re.sub(r"\bNET_", f"{name.upper()}_", text)
    text = re.sub(r"\blibnet\b", f"lib{name}", text)
    # Symbols of macOS begin with a line.
    return re.sub(r"\b(_?)net(?=[_.]|\b)", rf"\g<1>{name}", text)


def _wrapped(text: str, width: int = 96) -> str:
    lines, line = [], ""
    for word in text.split(", "):
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line += f" {word}," if line else f"    {word},"
    return "\n".join([*lines, line])


def _braced(items: object) -> str:
    return "{" + ", ".join(map(str, items)) + "}"  # type: ignore[call-overload]


def _quoted(text: str) -> str:
    return '"' + re.sub(r"[^A-Za-z0-9_.:#]", "_", text) + '"'


def _count(shape: Sequence[int | str]) -> int:
    total = 1
    for length in shape:
        assert isinstance(length, int)
        total *= length
    return total


def _by(shape: Sequence[int | str]) -> str:
    return times(shape) or "1"
