"""Where a page shows the figures of a run."""

from __future__ import annotations

import pytest

from benchmarks import page
from convsmith.errors import ArgumentError

PAGE = """before
<!-- families, threads 1 -->
old
<!-- end -->
<!-- families on Some CPU, threads 1 -->
<!-- end -->
<!-- families bf16, threads 1 -->
<!-- end -->
after
"""


def ran(model="Another CPU", threads=1, precision="float32"):
    return {
        "benchmark": "families",
        "machine": {"model": model},
        "options": {"threads": threads, "precision": precision},
    }


@pytest.mark.parametrize(
    ("document", "mark"),
    [
        (ran(), "families, threads 1"),
        (ran("Some CPU"), "families on Some CPU, threads 1"),
        (ran(precision="bf16"), "families bf16, threads 1"),
        (ran("Some CPU", precision="bf16"), "families bf16, threads 1"),
    ],
)
def test_a_run_stands_at_its_mark(document, mark, monkeypatch):
    monkeypatch.setattr(page, "section", lambda document: "new")
    text = page.filled(PAGE, document)
    assert f"<!-- {mark} -->\nnew\n<!-- end -->" in text
    assert text.count("new") == 1 and text.startswith("before\n") and text.endswith("after\n")
    assert ("old" in text) == (mark != "families, threads 1")


def test_a_page_without_a_place():
    with pytest.raises(ArgumentError, match="no <!-- families, threads 2 --> with"):
        page.filled(PAGE, ran(threads=2))
