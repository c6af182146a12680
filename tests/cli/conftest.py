"""The command line as a process, and a place for user code that leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

SOURCES = Path(__file__).parents[2] / "src"


class Run(Protocol):
    def __call__(
        self, *words: str, code: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `convsmith WORDS` (or Python code) as a process of its own, in an empty folder."""

    def start(
        *words: str, code: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        what = ["-m", "convsmith"] if code is None else ["-c", code]
        inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        return subprocess.run(
            [sys.executable, *what, *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(SOURCES), **(env or {})},
            timeout=300,
        )

    return start


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]
