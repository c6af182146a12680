"""No module of the runtime or the kernels imports itself by way of others, not even for types."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import convsmith

ROOT = Path(convsmith.__file__).parent


def _imports(package: str) -> dict[str, set[str]]:
    """For each module of a package the modules of it that its code imports, wherever in it."""
    files = {_name(path): path for path in (ROOT / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        used: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                used |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
        graph[module] = used & set(files) - {module}
    return graph


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", ["runtime", "kernels"])
def test_no_circle(package: str) -> None:
    graph = _imports(package)
    assert len(graph) > 5
    assert any(graph.values())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize(
    ("lower", "upper"),
    [("lowering", "execution"), ("lowering", "graph"), ("execution", "graph")],
)
def test_one_direction(lower: str, upper: str) -> None:
    prefix = "convsmith.runtime."
    upward = [
        f"{module} imports {used}"
        for module, imports in _imports("runtime").items()
        for used in imports
        if module.startswith(prefix + lower) and used.startswith(prefix + upper)
    ]
    assert upward == []
