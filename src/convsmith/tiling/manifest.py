"""The manifest: what a run is made from, and which units of the target are done.

It is a folder beside the target: `run.json` says what the run is, and each writer appends a line
per finished unit to a file of its own. A line is written after the unit's data, so that a unit with
a line is there, and a kill loses no more than the units in flight.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convsmith.errors import ArgumentError, DataError
from convsmith.tiling.stores.form import unwritten

__all__ = ["Manifest", "Record", "Unit"]

Unit = tuple[int, ...]
"""Which image, and which unit along each axis that tiles cut."""

_ORDER = ("version", "weights", "network", "input", "settings", "mask", "target")
"""Differences are named in this order."""


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
        """Read one line of a manifest."""
        data = json.loads(line)
        return cls(
            tuple(data["unit"]),
            data["digest"],
            data["masked"],
            tuple(data["counts"]),
            data["seconds"],
        )


@dataclass(eq=False)
class Manifest:
    """The manifest in a folder."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether a run has begun here."""
        return (self.folder / "run.json").is_file()

    @property
    def is_ready(self) -> bool:
        """Whether the target of the run was created, so that units can be written."""
        return (self.folder / "ready").is_file()

    def set_ready(self) -> None:
        """Note that the target was created."""
        (self.folder / "ready").touch()

    def remove(self) -> None:
        """Remove it: the run has not begun after all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, identity: dict[str, Any]) -> None:
        """Start anew: whatever was here is removed."""
        self.remove()
        self.folder.mkdir(parents=True)
        partial = self.folder / f"run.json.{os.getpid()}"
        partial.write_text(json.dumps(identity, indent=1), encoding="utf-8")
        os.replace(partial, self.folder / "run.json")

    def identity(self) -> dict[str, Any]:
        """What the run is made from.

        Raises:
            DataError: if the file is damaged.
        """
        try:
            data: dict[str, Any] = json.loads((self.folder / "run.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder / 'run.json'} is damaged: pass force to begin anew"
            ) from error
        return data

    def check(self, identity: dict[str, Any]) -> None:
        """Refuse to go on with a run that was made from something else.

        Raises:
            ArgumentError: naming what differs.
        """
        before = self.identity()
        plain = json.loads(json.dumps(identity))
        changed = [key for key in _ORDER if before.get(key) != plain.get(key)]
        if changed:
            raise ArgumentError(
                f"cannot resume: {', '.join(changed)} changed since {self.folder} was begun; "
                "pass force to begin anew"
            )

    def records(self) -> Iterator[Record]:
        """All lines of all writers; a line that a kill has cut short counts as none."""
        for path in sorted(self.folder.glob("done-*.jsonl")):
            for line in path.read_text("utf-8", errors="replace").splitlines():
                try:
                    record = Record.from_line(line)
                except (ValueError, KeyError, TypeError):
                    continue
                yield record

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


class Writer:
    """Appends lines to one file, each handed to the system at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        if self._file.tell():
            self._file.write("\n")  # ends a line that a kill has cut short

    def add(self, record: Record) -> None:
        """Append one finished unit.

        Raises:
            DataError: where the disk is full.
        """
        try:
            self._file.write(json.dumps(asdict(record)) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritten(str(self.path), error) from error

    def close(self) -> None:
        """Close the file; a full disk was reported when the line was added."""
        with suppress(OSError):
            self._file.close()


def stamp() -> str:
    """A name for a writer that no other has."""
    return f"{os.uname().nodename}-{os.getpid()}-{time.time_ns()}"
