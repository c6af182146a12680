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
        host: what `sys.platform` says on it; '' where programs do not compile libraries.
    """

    name: str
    system: str
    isas: tuple[str, ...]
    triple: str
    static_triple: str
    machines: tuple[str, ...]
    emulator: str = ""
    package: str = ""
    host: str = "linux"

    @property
    def is_web(self) -> bool:
        """Whether it runs in a browser: then there is a module in the place of a shared library."""
        return self.name == "wasm32"

    def shared(self, name: str) -> str:
        """The file of what is loaded when it runs."""
        if self.is_web:
            return f"{name}.wasm"
        return f"lib{name}.dylib" if self.is_apple else f"lib{name}.so"

    @property
    def weights(self) -> str:
        """Which of the sources puts the weights into a library."""
        if self.is_web:
            return "weights.wasm.s"
        return "weights.macos.s" if self.is_apple else "weights.s"

    @property
    def is_apple(self) -> bool:
        """Whether its assembler and linker are Apple's, with files in the format Mach-O."""
        return self.system.endswith("-osx")

    @property
    def is_android(self) -> bool:
        """Whether it is Android, whose C library programs do not hold."""
        return self.system.endswith("-android")

    @property
    def shuffles(self) -> bool:
        """Whether the executor's C packs and unpacks planes on it."""
        return self.system.startswith("x86")

    @property
    def is_here(self) -> bool:
        """Whether this is such a machine; it may still lack the instructions."""
        return sys.platform == self.host and platform.machine().lower() in self.machines


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
            # Its libraries ask for malloc, free, memcpy and the like of a libc.so: so musl's stands
            # in for Android's, whose headers are not needed, and QEMU can try them.
            Target(
                "aarch64-android",
                "arm-64-android",
                ("neon",),
                "aarch64-linux-musl",
                "aarch64-linux-musl",
                (),
                "qemu-aarch64",
                "qemu-user",
                "android",
            ),
            Target(
                "aarch64-macos",
                "arm-64-osx",
                ("neon",),
                "aarch64-macos.11.0",
                "aarch64-macos.11.0",
                ("arm64",),
                host="darwin",
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
    raise ArgumentError(f"no target {name!r}: {known}{nearest(name, TARGETS)}")
