"""C libraries, called from Python and from C."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Loaded", "compiled", "run_here", "run_program"]


class Loaded:
    """A shared library with one network of its own."""

    def __init__(self, path: Path, name: str = "net") -> None:
        self._library = ctypes.CDLL(str(path))
        create: Any = getattr(self._library, f"{name}_create")
        self.run_, self.destroy = (
            getattr(self._library, f"{name}_{verb}") for verb in ("run", "destroy")
        )
        create.restype, create.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        self.run_.argtypes, self.destroy.argtypes = [ctypes.c_void_p] * 3, [ctypes.c_void_p]
        self.create = create
        self.network = create(None)
        assert self.network

    def run(self, inputs: Sequence[Tensor], shapes: Sequence[Sequence[Any]]) -> list[Tensor]:
        """The outputs."""
        inputs = [tensor.contiguous() for tensor in inputs]
        results = [torch.full(tuple(shape), torch.nan) for shape in shapes]
        assert self.run_(self.network, _addresses(inputs), _addresses(results)) == 0
        return results


def run_here(path: Path, name: str, inputs: Sequence[Tensor], shapes: Any) -> list[Tensor]:
    """The outputs of a shared library."""
    return Loaded(path, name).run(inputs, shapes)


def _addresses(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def compiled(folder: Path, compiler: str, sources: Sequence[str], output: str, *more: str) -> Path:
    """A program of some files of a folder."""
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *more, *sources]
    done = subprocess.run(
        [*command, "-lm", "-o", output], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / output


def run_program(
    command: Sequence[Any], folder: Path, inputs: Sequence[Tensor], shapes: Sequence[Sequence[Any]]
) -> list[Tensor]:
    """The outputs of the example, run in a folder of the test's own."""
    files = [folder / f"in{i}" for i in range(len(inputs))]
    results = [folder / f"out{i}" for i in range(len(shapes))]
    for file, tensor in zip(files, inputs):
        file.write_bytes(tensor.numpy().tobytes())
    done = subprocess.run(
        [*map(str, command), *map(str, files), "-o", *map(str, results)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        torch.from_numpy(np.fromfile(file, np.float32)).reshape(tuple(shape))
        for file, shape in zip(results, shapes)
    ]


def has(*programs: str) -> bool:
    """Whether this machine has them all."""
    return all(map(shutil.which, programs))
