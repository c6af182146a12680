"""The notebook, from its first cell to its last, as a reader runs it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")
pytest.importorskip("halide")

NOTEBOOK = Path(__file__).parents[2] / "notebooks/lighten.ipynb"


def cells() -> list[str]:
    """The code, a text for each cell."""
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    found = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in found)
    return ["".join(cell["source"]) for cell in found]


def run(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; what it shows."""
    body = ast.parse(code).body
    last = body.pop()
    assert isinstance(last, ast.Expr), "each cell shows something"
    exec(compile(ast.Module(body, []), NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


@pytest.mark.slow
def test_ten_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    code = cells()
    shown = [run(cell, names) for cell in code]
    # A reader goes back and runs a cell again.
    for cell in (*code[2:4], *code[5:]):
        run(cell, names)
    assert len(shown) == 10
    trained, inspection, field, report, scores, gap, same, written, scene = shown[1:]
    assert trained > 0.9 and inspection.status == "exact" and field[0] == (8, 8)
    assert scores["lightened"] > 0.8 and scores["original"] == trained
    assert report.lightened.params < report.original.params / 3
    assert gap < 1e-3 and same is True
    assert written.error is not None and written.error <= 1e-5
    assert all(hasattr(each, "_repr_html_") for each in (inspection, report, written))
    assert "<svg" in scene.svg()
