"""The two crafts stand side by side: no circle among their files, and recipes that know neither."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import convsmith.rewrite

ROOT = Path(convsmith.rewrite.__file__).parent
ROOM = "convsmith.rewrite"


def modules():
    """Every file of the room with the files of the room that it imports, at any depth of it."""
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names[".".join((ROOM, *parts))] = path
    return {name: imported(path, names) - {name} for name, path in names.items()}


def imported(path, known):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports would escape this test"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & known.keys()


def craft(module):
    """`dilation`, `lightening`, or the name of a file that both share."""
    return module.removeprefix(f"{ROOM}.").partition(".")[0]


def no_circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' → '.join(error.args[1])}")


def test_no_file_imports_what_imports_it():
    graph = modules()
    assert len(graph) > 30
    no_circle(graph)


def test_no_craft_imports_what_imports_it():
    graph = {}
    for module, needs in modules().items():
        if module != ROOM:
            graph.setdefault(craft(module), set()).update(
                craft(need) for need in needs if craft(need) != craft(module)
            )
    no_circle(graph)
    assert graph["recipe"] == set()
    assert "lightening" not in graph["dilation"]
    for shared in ("recipe", "surgery", "observation"):
        assert not graph[shared] & {"dilation", "lightening"}


def test_the_check_finds_a_circle():
    with pytest.raises(pytest.fail.Exception, match="a circle"):
        no_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
