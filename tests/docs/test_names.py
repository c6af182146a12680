"""Names of convsmith that a docstring, a comment or a page mentions exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# `convsmith.measure.cost`, `cs.inspect(model)`, and imports in examples.
_NAMED = re.compile(r"`(?:>>> )?(convsmith|cs)((?:\.[A-Za-z_]\w*)+)")
_IMPORTED = re.compile(
    r"^\s*(?:>>> |\.\.\. )?from (convsmith[\w.]*) import ([\w, ]+)$", re.MULTILINE
)


def _sources() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted([*pages, *(ROOT / "src").rglob("*.py")])


def _resolve(name: str) -> Any:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            value = getattr(value, part)
        return value
    raise AttributeError(name)


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_names_that_are_mentioned_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = {f"convsmith{rest}" for _, rest in _NAMED.findall(text)}
    if path.suffix == ".md":
        for room, listed in _IMPORTED.findall(text):
            names |= {f"{room}.{name.split()[0]}" for name in listed.split(",")}
    lacking = []
    for name in sorted(names):
        try:
            _resolve(name)
        except AttributeError:
            lacking.append(name)
    assert not lacking, f"{path.relative_to(ROOT)} mentions what does not exist: {lacking}"
