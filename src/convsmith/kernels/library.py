"""From kernels to functions that can be called: compile, link, load."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convsmith._version import __version__
from convsmith.errors import ConvsmithError
from convsmith.kernels.abi import Abi, declare, read_abi
from convsmith.kernels.cache import Cache, content_of
from convsmith.kernels.isa import Isa
from convsmith.kernels.kernel import Kernel, target
from convsmith.kernels.watching import InPython, Watching
from convsmith.machine import COMPILERS, cache_folder, find_compiler

__all__ = ["Library", "Progress", "compiler"]

Progress = Callable[[int, int, Kernel], object]
"""Called with how many kernels are ready, of how many, and the one just made."""

_SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
"""The executor, with the few kernels that are written in C."""

# Calls are made by the program, whose buffers are right by construction: no checks in each.
_BARE = ("no_asserts", "no_bounds_query", "no_runtime")


@cache
def compiler() -> tuple[str, ...] | None:
    """The command of the C compiler that links kernels: `CC`, else cc, gcc or clang."""
    return find_compiler("CC", COMPILERS)


class Library:
    """The kernels of one instruction set, compiled when first asked for and kept in a cache.

    Attributes:
        isa: the instruction set.
        executor: the shared object that runs programs; None where `interpret` does.
        abi: what the executor and this side agree on; None where there is no executor.
        watching: what compares weights with what they were.

    Raises:
        ConvsmithError: where there is no C compiler, or it fails.
    """

    def __init__(self, isa: Isa, root: Path | None = None) -> None:
        self.isa = isa
        self.cache = Cache(root or cache_folder())
        self._target = target(isa)
        self._functions: dict[str, int] = {}
        self._kept: list[ctypes.CDLL] = []  # a function is valid as long as its object is loaded
        self._paths: dict[str, Path] = {}
        self.abi: Abi | None = None
        self.watching: InPython
        self.executor: Any = self._load_executor()

    def missing(self, kernels: Iterable[Kernel]) -> list[Kernel]:
        """Those that are not loaded yet, each once."""
        return [k for k in dict.fromkeys(kernels) if k.name not in self._functions]

    def prepare(self, kernels: Iterable[Kernel], progress: Progress | None = None) -> None:
        """Load kernels before they are asked for.

        Args:
            kernels: any; those that are loaded already cost nothing.
            progress: called for each kernel that has become ready.

        Raises:
            ConvsmithError: as for `address`.
        """
        missing = self.missing(kernels)
        for ready, kernel in enumerate(missing, start=1):
            self.address(kernel)
            if progress is not None:
                progress(ready, len(missing), kernel)

    def address(self, kernel: Kernel) -> int:
        """The address of the function of a kernel: `int f(void **arguments)`."""
        if kernel.name not in self._functions:
            self._functions[kernel.name] = self._load(kernel)
        return self._functions[kernel.name]

    def names(self) -> dict[int, str]:
        """The kernels that are loaded, by the addresses of their functions."""
        own = {self.fill: "fill", self.pack: "pack", self.unpack: "unpack"}
        return own | {address: name for name, address in self._functions.items()}

    def code(self, name: str) -> bytes:
        """The machine code of a kernel that is loaded, or of the `executor`.

        Raises:
            ConvsmithError: where the file that it was loaded from is no longer there.
        """
        content = content_of(self._paths[name])
        if content is None:
            raise ConvsmithError(f"{self._paths[name]} was removed or changed: compile again")
        return content

    @property
    def fill(self) -> int:
        """The address of the function that fills a box."""
        return _address(self.executor.convsmith_fill)

    @property
    def pack(self) -> int:
        """The address of what `Pack` is for planar tensors."""
        return _address(self.executor.convsmith_pack)

    @property
    def unpack(self) -> int:
        """The address of what `Unpack` is for planar tensors."""
        return _address(self.executor.convsmith_unpack)

    def interpret(self, calls: Any, arguments: Any, bases: Sequence[int]) -> None:
        """Run a program without an executor.

        Args:
            calls: (threads, calls) of function, first argument and count; function 0 is none.
            arguments: base, value, offset in bytes, and up to four extents and strides.
            bases: the addresses that offsets count from.
        """
        raise NotImplementedError

    def _load(self, kernel: Kernel) -> int:
        def make(path: Path) -> None:
            function, arguments = kernel.pipeline(self.isa)
            unlinked = path.with_suffix(".o")
            more = self.isa.bf16 if kernel.numbers.products else ()
            bare = target(self.isa, *more, *_BARE)
            function.compile_to_object(str(unlinked), arguments, kernel.name, bare)
            _link([unlinked], path)

        path = self.cache.get(self._key(kernel.name, _source()), ".so", make)
        loaded = _open(path, ctypes.DEFAULT_MODE)
        self._kept.append(loaded)
        self._paths[kernel.name] = path
        return _address(getattr(loaded, f"{kernel.name}_argv"))

    def _load_executor(self) -> ctypes.CDLL:
        def make(path: Path) -> None:
            code = [source for source in _SOURCES if source.suffix == ".c"]
            _link(code, path, "-O3", "-lpthread", "-lm")

        content = b"".join(source.read_bytes() for source in _SOURCES)
        key = self._key("executor", sha256(content).hexdigest())
        # Kernels find in here what they ask of a runtime: Halide's own takes seconds to compile.
        path = self._paths["executor"] = self.cache.get(key, ".so", make)
        loaded = _open(path, ctypes.RTLD_GLOBAL)
        self.abi = read_abi(loaded, path)
        self.watching = Watching(path)
        declare(loaded)
        return loaded

    def _key(self, name: str, source: str) -> str:
        text = repr((name, source, __version__, version("halide"), str(self._target)))
        return f"{name[:60]}-{sha256(text.encode()).hexdigest()[:24]}"


@cache
def _source() -> str:
    """Changes whenever an algorithm or a schedule does."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _link(inputs: list[Path], output: Path, *options: str) -> None:
    command = compiler()
    if command is None:
        raise ConvsmithError("no C compiler: install gcc or clang, or set CC")
    arguments = [*command, "-shared", "-fPIC", "-o", str(output), *map(str, inputs), *options]
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if not done.returncode and output.exists():
            return
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        reason = next((line for line in lines if "error" in line.lower()), lines[0])
    raise ConvsmithError(f"{' '.join(command)} cannot link {output.name}: {reason}")


def _open(path: Path, mode: int) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path), mode=mode)
    except OSError as error:
        raise ConvsmithError(f"{path} cannot be loaded: {error}; set CONVSMITH_CACHE") from error


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
