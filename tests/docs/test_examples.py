"""The `>>>` examples of README.md and docs/ print what they say they print."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(page: Path) -> str:
    """Return the page with all but its examples blanked out, so that line numbers hold."""
    text = page.read_text(encoding="utf-8")
    kept = [(m.start(1), m.end(1)) for m in BLOCK.finditer(text) if ">>> " in m[1]]
    blank = list(re.sub(r"[^\n]", " ", text))
    for start, end in kept:
        blank[start:end] = text[start:end]
    return re.sub(r"[ ]+$", "", "".join(blank), flags=re.MULTILINE)


def said(page: Path) -> list[tuple[str, str]]:
    """What the examples of a page do and print, without their comments."""
    found = doctest.DocTestParser().get_examples(examples(page))
    return [(ast.dump(ast.parse(each.source)), each.want) for each in found]


def original(page: Path) -> Path | None:
    """The page of which one is a translation."""
    if page.name == "README.zh-CN.md":
        return ROOT / "README.md"
    return ROOT / "docs" / page.name if page.parent.name == "zh" else None


PAGES = [
    page
    for page in (*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md")))
    if page.name.startswith("README") or ">>> " in examples(page)
]


# What a translation runs is mostly what the page runs: then the page's own run is enough.
COPIES = [page for page in PAGES if (own := original(page)) and said(own) == said(page)]


# What a newcomer sees first; `make docs-check` runs all.
FIRST = ("README.md", "index.md", "inspect.md")


def test_translations_run_what_the_pages_run() -> None:
    assert ROOT / "README.zh-CN.md" in COPIES


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page.name in FIRST else pytest.mark.slow)
        for page in PAGES
        if page not in COPIES
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_examples_of_a_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(
        examples(page), {"__name__": "__main__"}, page.name, str(page), 0
    )
    assert test.examples, f"{page.name} has no >>> example"
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert outcome.failed == 0, capsys.readouterr().out
