"""Compilers for a target: this machine's own, or the clang of Zig, which serves all of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from convsmith.errors import ConvsmithError, MissingExtra, first_line
from convsmith.exporting.library.targets import Target
from convsmith.machine import COMPILERS, find_compiler

__all__ = ["Toolchain", "toolchain_for"]

_OPTIONS = (
    "-std=c11", "-O3", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip


@dataclass(frozen=True)
class Toolchain:
    """What compiles and links.

    Attributes:
        compiler: the command of the C compiler, which assembles as well.
        archiver: that of `ar`.
        static: the command that compiles programs which hold all that they need.
    """

    compiler: tuple[str, ...]
    archiver: tuple[str, ...]
    static: tuple[str, ...]

    def build(self, folder: Path, name: str, target: Target) -> None:
        """Make the static and the shared library of the sources in a folder, beside them.

        Raises:
            ConvsmithError: where a compiler fails, with its reason.
        """
        objects = []
        for source in (f"{name}.c", "kernels.s", "weights.s"):
            objects.append(f"{Path(source).stem}.o")
            options = [*_OPTIONS, *([] if target.is_web else ["-fPIC"])]
            if not source.endswith(".c"):
                options = []
            self._run(folder, [*self.compiler, *options, "-I.", "-c", source, "-o", objects[-1]])
        self._run(folder, [*self.archiver, "rcs", f"lib{name}.a", *objects])
        shared = [*_shared(target, name), "-o", target.shared(name)]
        self._run(folder, [*self.compiler, *shared, *objects, "-lm"])
        for each in objects:
            (folder / each).unlink()

    def program(self, folder: Path, name: str) -> Path:
        """Make the example of a folder, with the static library.

        Raises:
            ConvsmithError: as for `build`.
        """
        command = [*self.static, "-std=c11", "-O2", "main.c", f"lib{name}.a", "-lm"]
        self._run(folder, [*command, "-o", "main"])
        return folder / "main"

    def _run(self, folder: Path, command: Sequence[str]) -> None:
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise ConvsmithError(f"{command[0]} cannot be run: {error.strerror}") from error
        if done.returncode:
            said = re.search(".*error.*", done.stderr, re.IGNORECASE)
            reason = first_line(said[0] if said else done.stderr) or f"exit {done.returncode}"
            builder = "zig" if "ziglang" in self.compiler else self.compiler[0]
            raise ConvsmithError(f"{builder} cannot build the library: {reason}")


def _shared(target: Target, name: str) -> list[str]:
    """What links the file that is loaded when it runs."""
    if target.is_web:
        offered = [f"{name}_create", f"{name}_run", f"{name}_destroy", "malloc", "free"]
        return ["-mexec-model=reactor", "-s", *(f"-Wl,--export={each}" for each in offered)]
    if target.is_apple:
        place = f"@rpath/{target.shared(name)}"
        return ["-shared", "-Wl,-dead_strip", "-s", f"-Wl,-install_name,{place}"]
    # Android's newest machines have pages of 16 KiB.
    pages = ["-Wl,-z,max-page-size=16384"] if target.is_android else []
    return ["-shared", "-Wl,--gc-sections", "-s", *pages]


def toolchain_for(target: Target) -> Toolchain:
    """What builds for a target.

    Raises:
        MissingExtra: where there is nothing: naming the line that installs it.
    """
    native = find_compiler("CC", COMPILERS) if target.is_here else None
    if native is not None and (archiver := shutil.which("ar")):
        return Toolchain(native, (archiver,), native)
    if find_spec("ziglang") is None:
        raise MissingExtra(
            f"a C library for {target.name}", extra="library", package="a compiler, ziglang"
        )
    zig = (sys.executable, "-m", "ziglang")
    return Toolchain(
        (*zig, "cc", "-target", target.triple, *(["-msimd128"] if target.is_web else [])),
        (*zig, "ar"),
        (*zig, "cc", "-target", target.static_triple, "-static"),
    )
