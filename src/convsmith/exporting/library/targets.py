"""The machines that a library can be written for."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from types import MappingProxyType

from convsmith.errors import ArgumentError, nearest

__all__ = ["TARGETS", "Target", "target_named"]


@dataclass(frozen=True)
class Target:
    """A machine, and what a library for it is made of.

    Attributes:
        name: as a user calls it.
        system: what Halide calls the processor and the system.
        isas: the instruction sets of the kernels, widest first; the first that the processor has is
            chosen when the library runs.
        triple: what clang calls the machine.
        static_triple: the same with a C library that programs can hold.
        machines: what `platform.machine` says on it.
        emulator: what runs its programs elsewhere, on Linux; '' if nothing does.
        package: of Debian, which has the emulator.
    """

    name: str
    system: str
    isas: tuple[str, ...]
    triple: str
    static_triple: str
    machines: tuple[str, ...]
    emulator: str = ""
    package: str = ""

    @property
    def is_web(self) -> bool:
        """Whether it runs in a browser: then there is a module in the place of a shared library."""
        return self.name == "wasm32"

    def shared(self, name: str) -> str:
        """The file of what is loaded when it runs."""
        return f"{name}.wasm" if self.is_web else f"lib{name}.so"

    @property
    def shuffles(self) -> bool:
        """Whether the executor's C packs and unpacks planes on it."""
        return self.system.startswith("x86")

    @property
    def is_here(self) -> bool:
        """Whether this is such a machine; it may still lack the instructions."""
        return sys.platform == "linux" and platform.machine().lower() in self.machines


_X86 = ("x86-64-linux", "x86_64-linux-gnu.2.17", ("x86_64", "amd64"))


def _x86(name: str, *isas: str) -> Target:
    system, triple, machines = _X86
    return Target(name, system, isas, triple, "x86_64-linux-musl", machines)


TARGETS = MappingProxyType(
    {
        target.name: target
        for target in (
            _x86("x86-64", "avx512", "avx2"),
            _x86("x86-64-v3", "avx2"),
            _x86("x86-64-v4", "avx512"),
            Target(
                "aarch64-linux",
                "arm-64-linux",
                ("neon",),
                "aarch64-linux-gnu.2.17",
                "aarch64-linux-musl",
                ("aarch64", "arm64"),
                "qemu-aarch64",
                "qemu-user",
            ),
            Target(
                "wasm32",
                "wasm-32-wasmrt",
                ("simd128",),
                "wasm32-wasi",
                "wasm32-wasi",
                (),
                "node",
                "nodejs",
            ),
        )
    }
)
"""By name."""

_NOT_YET = {
    "aarch64-android": "aarch64",
    "aarch64-macos": "macOS",
}
"""Names that are set aside, and what they stand for."""


def target_named(name: str) -> Target:
    """The target of a name.

    Raises:
        ArgumentError: for one that no library is written for.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"target is a name such as 'x86-64-v3', not {name!r}")
    if name in TARGETS:
        return TARGETS[name]
    known = f"choose one of {', '.join(TARGETS)}"
    if name in _NOT_YET:
        raise ArgumentError(f"no library is written for {name!r} yet: {known}")
    raise ArgumentError(f"no target {name!r}: {known}{nearest(name, TARGETS)}")
