"""No module imports itself by way of others; most rooms not even for types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import convsmith

ROOT = Path(convsmith.__file__).parent


def _imports(package: str, *, for_types: bool = True) -> dict[str, set[str]]:
    """For each module of a package the modules of it that its code imports, wherever in it."""
    files = {_name(path): path for path in (ROOT / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        used: set[str] = set()
        for node in _nodes(ast.parse(path.read_text()), for_types):
            if isinstance(node, ast.ImportFrom) and node.module:
                used |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
        graph[module] = used & set(files) - {module}
    return graph


def _nodes(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    """All nodes below one; `if TYPE_CHECKING:` left out unless imports for types count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test) and not for_types:
            continue
        yield child
        yield from _nodes(child, for_types)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_circle_in_the_house() -> None:
    graph = _imports("", for_types=False)
    # The package and its rooms name what their files hold; a file names no room that it is in.
    rooms = {module for module in graph if (ROOT.parent / module.replace(".", "/")).is_dir()}
    inner = {module: used - rooms for module, used in graph.items() if module not in rooms}
    _check(inner)


@pytest.mark.parametrize("package", ["kernels", "report", "rewrite", "runtime"])
def test_no_circle_in_a_room(package: str) -> None:
    _check(_imports(package))


def _check(graph: dict[str, set[str]]) -> None:
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
