"""`docs/security.md` lists every place that has to be judged, and `SECURITY.md` what is tested."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile.places import calls, places

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (\d+) \| (.+) \|$", re.MULTILINE)


def listed() -> Counter[tuple[str, str]]:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    return Counter({(file, call): int(times) for file, call, times, _ in ROW.findall(page)})


def test_every_place_is_listed_with_a_reason() -> None:
    new, gone = places() - listed(), listed() - places()
    assert not new, f"judge these, and list them in docs/security.md: {dict(new)}"
    assert not gone, f"docs/security.md lists what is no longer there: {dict(gone)}"
    assert sum(listed().values()) > 80


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open('x')", ["open"]),
        ("path.open('rb')", ["open"]),
        ("import os; os.open('x', 0)", ["open"]),
        ("Path('x').read_bytes()", ["read_bytes"]),
        ("eval(text)", ["eval"]),
        ("model.eval()", []),
        ("exec(text)", ["exec"]),
        ("importlib.import_module(name)", ["import_module"]),
        ("__import__(name)", ["__import__"]),
        ("subprocess.run(words)", ["subprocess.run"]),
        ("subprocess.Popen(words)", ["Popen"]),
        ("os.system(text)", ["system"]),
        ("ctypes.CDLL(path)", ["CDLL"]),
        ("torch.load(path)", ["torch.load"]),
        ("pickle.loads(data)", ["pickle.loads"]),
        ("json.loads(text)", []),
        ("getattr(module, name)", ["getattr"]),
        ("getattr(module, 'name')", []),
        ("getattr(self, name)", []),
        ("text.replace('a', 'b')", []),
        ("os.replace(a, b)", ["replace"]),
    ],
)
def test_what_has_to_be_judged(source: str, found: list[str]) -> None:
    assert list(calls(source)) == found


def test_each_sentence_about_a_strangers_file_is_held_by_tests_that_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| [^|]+ \| (`[^|]+`) \|$", page, re.MULTILINE)
    assert len(rows) >= 8
    for row in rows:
        for name in re.findall(r"`([^`]+)`", row):
            file, _, test = name.partition("::")
            source = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert f"def {test}(" in source, name
