"""From kernels to functions that can be called: compile, link, load."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import halide as hl

from convsmith._version import __version__
from convsmith.errors import ConvsmithError
from convsmith.kernels.cache import Cache, folder
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel

__all__ = ["Library", "compiler"]

_EXECUTOR = Path(__file__).with_name("executor.c")
# Calls are made by the program, whose buffers are right by construction: no checks in each.
_BARE = ("no_asserts", "no_bounds_query", "no_runtime")


@cache
def compiler() -> str | None:
    """The C compiler that links kernels: `CC`, else cc, gcc or clang."""
    named = os.environ.get("CC", "").split(" ")[0]
    return next(filter(None, map(shutil.which, filter(None, (named, "cc", "gcc", "clang")))), None)


class Library:
    """The kernels of one instruction set, compiled when first asked for and kept in a cache.

    Attributes:
        isa: the instruction set.
        executor: the shared object that runs programs.

    Raises:
        ConvsmithError: where there is no C compiler, or it fails.
    """

    def __init__(self, isa: Isa, root: Path | None = None) -> None:
        self.isa = isa
        self.cache = Cache(root or folder())
        self._target = _target(isa)
        self._functions: dict[str, int] = {}
        self._kept: list[ctypes.CDLL] = []  # a function is valid as long as its object is loaded
        self.executor = self._load_executor()

    def missing(self, kernels: Iterable[Kernel]) -> list[Kernel]:
        """Those that are not loaded yet, each once."""
        return [k for k in dict.fromkeys(kernels) if k.name not in self._functions]

    def address(self, kernel: Kernel) -> int:
        """The address of the function of a kernel: `int f(void **arguments)`."""
        if kernel.name not in self._functions:
            self._functions[kernel.name] = self._load(kernel)
        return self._functions[kernel.name]

    @property
    def fill(self) -> int:
        """The address of the function that fills a box."""
        return _address(self.executor.convsmith_fill)

    def _load(self, kernel: Kernel) -> int:
        def make(path: Path) -> None:
            function, arguments = kernel.pipeline(self.isa)
            unlinked = path.with_suffix(".o")
            target = _with(self._target, _BARE)
            function.compile_to_object(str(unlinked), arguments, kernel.name, target)
            _link([unlinked], path)

        path = self.cache.get(self._key(kernel.name, _source()), ".so", make)
        loaded = ctypes.CDLL(str(path))
        self._kept.append(loaded)
        return _address(getattr(loaded, f"{kernel.name}_argv"))

    def _load_executor(self) -> ctypes.CDLL:
        def make(path: Path) -> None:
            runtime = path.with_suffix(".o")
            hl.compile_standalone_runtime(str(runtime), self._target)
            _link([_EXECUTOR, runtime], path, "-O2", "-lpthread", "-ldl", "-lm")

        key = self._key("executor", sha256(_EXECUTOR.read_bytes()).hexdigest())
        # Kernels find Halide's runtime in here: it is one for all of them.
        loaded = ctypes.CDLL(str(self.cache.get(key, ".so", make)), mode=ctypes.RTLD_GLOBAL)
        loaded.convsmith_team.restype = ctypes.c_void_p
        loaded.convsmith_team.argtypes = [ctypes.c_int32]
        loaded.convsmith_team_free.argtypes = [ctypes.c_void_p]
        pointer, number = ctypes.c_void_p, ctypes.c_int32
        loaded.convsmith_run.argtypes = [pointer, pointer, number, number, pointer, pointer]
        return loaded

    def _key(self, name: str, source: str) -> str:
        text = repr((name, source, __version__, version("halide"), str(self._target)))
        return f"{name[:60]}-{sha256(text.encode()).hexdigest()[:24]}"


def _target(isa: Isa) -> Any:
    host = str(hl.get_host_target()).split("-")
    return hl.Target("-".join([*host[:3], *isa.features]))


def _with(target: Any, features: tuple[str, ...]) -> Any:
    return hl.Target("-".join([str(target), *features]))


@cache
def _source() -> str:
    """Changes whenever an algorithm or a schedule does."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _link(inputs: list[Path], output: Path, *options: str) -> None:
    command = compiler()
    if command is None:
        raise ConvsmithError("no C compiler: install gcc or clang, or set CC")
    done = subprocess.run(
        [command, "-shared", "-fPIC", "-o", str(output), *map(str, inputs), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[0]
        raise ConvsmithError(f"{command} cannot link {output.name}: {reason}")


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
