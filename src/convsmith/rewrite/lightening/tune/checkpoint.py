"""A run of `lighten` on disk, so that it can continue after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, ModelError, first_line
from convsmith.report.alone import alone
from convsmith.report.saving import drafted

__all__ = ["Checkpoint", "fingerprint", "write_tensors"]

_RUN = "run.json"


class Checkpoint:
    """A folder with what a run has decided (JSON) and how far its training is.

    Tensors are kept in PyTorch's format and read with `weights_only=True`, which runs no code.

    Args:
        folder: made if need be.
        run: what the run is: plain values that a run which continues must share with it.

    Raises:
        ArgumentError: if the folder belongs to another run, naming what differs.
    """

    def __init__(self, folder: str | Path, run: dict[str, Any]) -> None:
        self.folder = Path(folder)
        known = self._read(_RUN)
        if known is not None and not isinstance(known, dict):
            raise ModelError(f"checkpoint {self.folder / _RUN} cannot be read: expected an object")
        for name, value in run.items():
            if known is not None and known.get(name) != json.loads(json.dumps(value)):
                raise ArgumentError(
                    f"checkpoint {self.folder} is of another run: its {name} is "
                    f"{known.get(name)!r}, not {value!r}; remove it or name another folder"
                )
        if known is None:
            self.write(_RUN, run)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs from this checkpoint as long as the block lasts.

        Raises:
            ArgumentError: if another run, in this process or another, uses it now.
        """
        busy = (
            f"checkpoint {self.folder} is in use by another run: wait for it, or name another "
            "folder"
        )
        with alone(self.folder, busy):
            yield

    def part(self, name: str) -> Checkpoint:
        """A folder of its own within this one, of the same run."""
        inner = copy(self)
        inner.folder = self.folder / name
        return inner

    def write(self, name: str, values: Any) -> None:
        """Keep plain values under a name, whole or not at all."""
        self._put(name, lambda file: file.write(f"{json.dumps(values)}\n".encode()))

    def read(self, name: str) -> Any:
        """What was kept under a name, or None."""
        return self._read(name)

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Keep tensors and plain values."""
        self._put(name, lambda file: write_tensors(state, file))

    def load(self, name: str) -> dict[str, Any] | None:
        """What `save` kept, or None.

        Raises:
            ModelError: for a damaged file.
        """
        path = self.folder / name
        if not path.exists():
            return None
        try:
            if not path.is_file():  # a pipe would keep its reader waiting
                raise ValueError("it is not a file")
            state: dict[str, Any] = torch.load(path, weights_only=True)
        except Exception as error:  # a damaged archive fails in many ways
            raise ModelError(f"checkpoint {path} cannot be read: {first_line(error)}") from error
        return state

    def _read(self, name: str) -> Any:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            if not path.is_file():  # a pipe would keep its reader waiting
                raise ValueError("it is not a file")
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"checkpoint {path} cannot be read: {error}") from error

    def _put(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with drafted(self.folder / name) as file:
                write(file)
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise ArgumentError(f"checkpoint {self.folder} cannot be written: {reason}") from error


def write_tensors(state: Any, file: IO[bytes]) -> None:
    """Write as `torch.save` does.

    Raises:
        OSError: where the file refuses; torch itself ends with an error about its own archive.
    """
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def fingerprint(model: nn.Module) -> str:
    """A hash of all weights and buffers: tells one trained network from another.

    >>> fingerprint(nn.Identity()) == fingerprint(nn.Identity())
    True
    """
    digest = sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(raw.numpy().tobytes())
    return digest.hexdigest()[:16]
