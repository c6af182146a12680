"""A scene is one file: its words, pictures and commands are found without being listed anywhere."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.draw import live, scenes
from convsmith.draw.catalogue import catalogue
from convsmith.draw.example import SECTIONS
from convsmith.draw.words import WORDS
from convsmith.errors import ArgumentError

ROOT = Path(cs.__file__).parent
DUMMY = '''\
"""One panel of ones: a scene for a test."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import dressed
from convsmith.draw.storyboard import Cell, Panel, Step
from convsmith.draw.words import Words, text

__all__ = ["COMMANDS", "EXAMPLES", "WORDS", "dummy"]

WORDS: Words = {"title.dummy": ("Ones: {count}", "{count} 个一")}


def dummy(count: int = 3, *, language: str = "en", theme: str = "auto") -> Scene:
    """Draw ones in a row."""
    title = text("title.dummy", count=count)
    panel = Panel("ones", "input", (1, count), tuple(Cell((0, i), 1) for i in range(count)))
    return dressed(Scene("dummy", title, title, (panel,), (Step(title),)), language, theme)


def _command(
    count: Annotated[int, Option("Number of ones.")] = 3,
    double: Annotated[bool, Option("Draw twice as many.")] = False,
) -> Scene:
    """Draw ones."""
    return dummy(count * (1 + double))


COMMANDS = (Command("dummy", _command),)
EXAMPLES = (Example("dummy", "standard", "Three ones", "三个一", partial(dummy, 3)),)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder beside that of the scenes, whose modules are scenes as well."""
    monkeypatch.setattr(scenes, "__path__", [*scenes.__path__, str(tmp_path)])
    before = dict(WORDS)
    yield tmp_path
    WORDS.clear()
    WORDS.update(before)
    for name in [name for name in sys.modules if name.startswith("convsmith.draw.scenes.dummy")]:
        del sys.modules[name]


def test_a_new_scene_is_one_file(folder, tmp_path_factory):
    with pytest.raises(AttributeError, match="has no attribute 'dummy'"):
        _ = cs.draw.dummy
    (folder / "dummy.py").write_text(DUMMY, encoding="utf-8")
    scene = cs.draw.dummy(4)
    assert repr(scene) == "Scene('dummy', 1 panels, 1 steps)"
    assert "4 个一" in scene.svg(language="zh") and "Ones: 4" in scene.svg()
    assert [each.section for each in catalogue().examples if each.name == "dummy"] == ["standard"]
    from convsmith.draw.gallery import gallery

    page = gallery(tmp_path_factory.mktemp("gallery"))[-1]
    assert (page.parent / "dummy.svg").is_file() and "三个一" in page.read_text("utf-8")


def test_so_is_its_command(folder):
    (folder / "dummy.py").write_text(DUMMY, encoding="utf-8")
    code = (
        "import sys\n"
        "from convsmith.draw import scenes\n"
        f"scenes.__path__.append({str(folder)!r})\n"
        "from convsmith.cli import main\n"
        "sys.exit(main(['draw', *sys.argv[1:]]))"
    )

    def run(*words):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Draw ones." in run("--help")
    shown = run("dummy", "--help")
    for word in (
        "Number of ones.",
        "[default: 3]",
        "--double",
        "--language",
        "--output",
        "--force",
    ):
        assert word in shown
    assert "--no-double" not in shown
    drawn = run("dummy", "--count", "2", "--double", "--language", "zh")
    assert "4 个一" in drawn


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"title.dummy"', '"title.cone"', "two scenes have a text 'title.cone', and they differ"),
        ('Command("dummy"', 'Command("cone"', "two scenes have a command 'cone'"),
        ('Example("dummy"', 'Example("cone"', "two pictures of the gallery are named 'cone.svg'"),
    ],
)
def test_two_scenes_never_share_a_name(folder, old, new, error):
    (folder / "dummy.py").write_text(DUMMY.replace(old, new), encoding="utf-8")
    with pytest.raises(ArgumentError, match=error):
        catalogue()


def test_the_catalogue_is_in_one_order():
    first, again = catalogue(), catalogue()
    assert first == again and list(first.commands) == sorted(first.commands)
    sections = [list(SECTIONS).index(each.section) for each in first.examples]
    assert sections == sorted(sections)
    names = [module.__name__ for module in first.modules]
    assert names == sorted(names)


@pytest.mark.parametrize("module", catalogue().modules, ids=lambda module: module.__name__)
def test_every_text_of_a_scene_is_used(module):
    source = Path(module.__file__).read_text("utf-8")
    if module.__name__.endswith(".stage"):  # its words are the page's
        files = Path(live.__file__).parent.glob("*.[jp][sy]")
        source += "".join(file.read_text("utf-8") for file in files)
    for key in getattr(module, "WORDS", {}):
        kind = key.partition(".")[0]
        # A part of a key may be filled in, as in f"caption.{kind}".
        filled = f'f"{kind}.{{' in source
        assert source.count(f'"{key}"') > 1 or filled, f"{key} is never shown"


def imports(room):
    """What each module of a room imports of the same room, wherever the import stands."""
    names = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for name, path in names.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name} imports relatively"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in names else node.module or "")
        graph[name] = (found & names.keys()) - {name}
    return graph


@pytest.mark.parametrize("room", ["draw", "explore", "report"])
def test_no_module_imports_itself_by_way_of_others(room):
    TopologicalSorter(imports(room)).prepare()


def test_drawing_does_not_know_the_command_line():
    for path in (ROOT / "draw").rglob("*.py"):
        source = path.read_text("utf-8")
        assert "typer" not in source.replace("`convsmith draw`", ""), path
