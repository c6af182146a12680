"""The manifest: what a run is made from, and which units of the target are done.

It is a folder beside the target: `run.json` says what the run is, and each writer appends a line
per finished unit to a file of its own. A line is written after the unit's data, so that a unit with
a line is there, and a kill loses no more than the units in flight. Until the target has been
created `run.json` is called `starting.json`, so that a kill before that is told from a target that
no run has made.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from convsmith.errors import ArgumentError, DataError, first_line
from convsmith.report.alone import alone
from convsmith.report.saving import drafted

__all__ = ["Manifest", "Record", "Unit"]

Unit = tuple[int, ...]
"""Which image, and which unit along each axis that tiles cut."""

T = TypeVar("T")

_RUN, _STARTING = "run.json", "starting.json"
_ORDER = ("version", "weights", "network", "input", "settings", "mask", "target")
"""Differences are named in this order."""

_NAMED, _SHOWN = 4, 40
"""So many settings that differ are shown, with so many characters of a value."""


@dataclass(frozen=True)
class Record:
    """One finished unit.

    Attributes:
        unit: its index.
        digest: of its bytes.
        masked: whether the mask left it out, so that nothing was written.
        counts: positions per class, for a histogram.
        seconds: it took.
    """

    unit: Unit
    digest: str
    masked: bool = False
    counts: tuple[int, ...] = ()
    seconds: float = 0.0

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read one line of a manifest.

        Raises:
            ValueError: for anything but what `Writer` writes.
        """
        try:
            data = json.loads(line)
            record = cls(
                tuple(data["unit"]),
                data["digest"],
                data["masked"],
                tuple(data["counts"]),
                data["seconds"],
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"a line that no run has written: {error}") from error
        numbers = (*record.unit, *record.counts)
        if (
            not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)
            or not isinstance(record.digest, str)
            or not isinstance(record.masked, bool)
            or not isinstance(record.seconds, float)
        ):
            raise ValueError("a line that no run has written")
        return record


@dataclass(eq=False)
class Manifest:
    """The manifest in a folder."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether a run has begun here, and has created its target."""
        return (self.folder / _RUN).is_file() and not self.folder.is_symlink()

    def starting(self, identity: dict[str, Any]) -> bool:
        """Whether this very run was stopped here before it had created its target."""
        if self.folder.is_symlink() or not (self.folder / _STARTING).is_file():
            return False
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return self._read(_STARTING) == plain

    def make(self) -> None:
        """Make the folder if need be.

        Raises:
            ArgumentError: for a link, which someone else may have put there, or a file.
        """
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise ArgumentError(
                f"{self.folder} is where a run keeps what is done, but is a link or a file: "
                "remove it or choose another target"
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def begin(self, identity: dict[str, Any], create: Callable[[], T]) -> T:
        """Start anew: what an earlier run left here is removed, and the target created.

        Raises:
            ArgumentError: as `make`.
            DataError: if the folder cannot be written.
        """
        self.make()
        try:
            for pattern in (_RUN, _STARTING, f".{_STARTING}.*", "done-*.jsonl"):
                for path in self.folder.glob(pattern):
                    path.unlink()
            for path in self.folder.glob("job-*"):
                shutil.rmtree(path, ignore_errors=True)
            with drafted(self.folder / _STARTING) as file:
                file.write(json.dumps(identity, indent=1).encode())
            created = create()
            os.replace(self.folder / _STARTING, self.folder / _RUN)
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise DataError(f"{self.folder} cannot be written: {reason}") from error
        return created

    @contextmanager
    def alone(self, part: tuple[int, int] | None) -> Iterator[None]:
        """Keep other runs away while the block lasts: all of them, or those of the same part.

        Raises:
            ArgumentError: if another run, in this process or another, is at work here now.
        """
        busy = f"another run is at work on {self.folder}: wait for it, or choose another target"
        with ExitStack() as stack:
            stack.enter_context(alone(self.folder, busy, shared=part is not None))
            if part is not None:
                lock = self.folder / f"part-{part[0]}-of-{part[1]}.lock"
                stack.enter_context(alone(lock, busy))
            yield

    def identity(self) -> dict[str, Any]:
        """What the run is made from.

        Raises:
            DataError: if the file is damaged.
        """
        data = self._read(_RUN)
        if data is None:
            raise DataError(f"{self.folder / _RUN} is damaged: pass force to begin anew")
        return data

    def _read(self, name: str) -> dict[str, Any] | None:
        """The object in a file; None if it is damaged."""
        try:
            data = json.loads((self.folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return data if isinstance(data, dict) else None

    def check(self, identity: dict[str, Any]) -> None:
        """Refuse to go on with a run that was made from something else.

        Raises:
            ArgumentError: naming what differs.
        """
        before = self.identity()
        plain = json.loads(json.dumps(identity))
        changed = [key for key in _ORDER if before.get(key) != plain.get(key)]
        if changed:
            some = [
                f"{name} {_shown(old)}, now {_shown(new)}"
                for key in changed
                for name, old, new in _differences(key, before.get(key), plain.get(key))
            ]
            told = f" ({'; '.join(some[:_NAMED])})" if some else ""
            raise ArgumentError(
                f"cannot resume: {', '.join(changed)} changed{told} since {self.folder} was begun; "
                "pass force to begin anew"
            )

    def records(self) -> Iterator[Record]:
        """All lines of all writers; a line that a kill has cut short counts as none."""
        for path in sorted(self.folder.glob("done-*.jsonl")):
            if not path.is_file():  # a pipe would keep its reader waiting
                continue
            for line in path.read_text("utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    yield Record.from_line(line)

    def done(self) -> dict[Unit, Record]:
        """The finished units; of two lines the latest counts."""
        return {record.unit: record for record in self.records()}

    def writer(self, name: str) -> Writer:
        """A writer of lines; no two that run at once have one name."""
        return Writer(self.folder / f"done-{name}.jsonl")

    def confirm(self, units: Iterable[Unit]) -> dict[Unit, Record]:
        """Find every unit once.

        Args:
            units: all that there are, counted from the shape of the target.

        Raises:
            DataError: naming units that are missing, or that two writers have written.
        """
        lines: dict[Unit, list[Record]] = {}
        for record in self.records():
            lines.setdefault(record.unit, []).append(record)
        expected = set(units)
        missing = sorted(expected - set(lines))
        strange = sorted(set(lines) - expected)
        twice = sorted(
            unit for unit, records in lines.items() if len({r.digest for r in records}) > 1
        )
        problems = {
            "never written": missing,
            "unknown": strange,
            "written twice, differently": twice,
        }
        for problem, some in problems.items():
            if some:
                raise DataError(f"{len(some)} units {problem}, such as {some[0]}: {self.folder}")
        return {unit: records[-1] for unit, records in lines.items()}


def _differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The entries of two objects that differ, by name; nothing for what is a hash."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    for key in new:
        pair = old.get(key), new[key]
        if all(isinstance(value, dict) for value in pair):
            yield from _differences(key, *pair)
        elif pair[0] != pair[1]:
            yield key, *pair


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # the file may say anything
        text = "something else"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class Writer:
    """Appends lines to one file, each handed to the system at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Without a buffer, which would be written once more when a full disk is left.
        self._file = path.open("ab", buffering=0)
        if self._file.tell():
            self._append(b"\n")  # ends a line that a kill has cut short

    def add(self, record: Record) -> None:
        """Append one finished unit.

        Raises:
            DataError: where the disk is full.
        """
        self._append(json.dumps(asdict(record)).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise DataError(f"{self._path} cannot be written: {reason}") from error
        if not whole:
            raise DataError(f"no room left for {self._path}: free some and resume")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def stamp() -> str:
    """A name for a writer that no other has."""
    return f"{os.uname().nodename}-{os.getpid()}-{time.time_ns()}"
