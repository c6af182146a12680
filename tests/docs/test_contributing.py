"""The recipes of CONTRIBUTING.md, each followed to the letter in a copy of the package.

An example writes the files that its recipe names and nothing else; then a fresh process uses what
was added. A recipe that is no longer enough fails here, and so does one that touches more files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import convsmith
from tests.thoroughness import thinned

ROOT = Path(__file__).parents[2]
RECIPES = re.compile(r"^### ([^\n]+)\n\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)


@dataclass
class House:
    """A copy of the package, and which of its files a recipe has touched."""

    folder: Path
    touched: tuple[str, ...] = ()

    def write(self, name: str, text: str) -> None:
        path = self.folder / "convsmith" / name
        assert not path.exists(), f"{name} is there already: choose another example"
        path.write_text(text, "utf-8")
        self.touched += (name,)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / "convsmith" / name
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{name}: {old!r} is there {text.count(old)} times"
        path.write_text(text.replace(old, new), "utf-8")
        self.touched += (name,)

    def python(self, code: str) -> str:
        """Run code in a fresh process; what it prints."""
        return self._run("-c", code)

    def convsmith(self, *words: str) -> str:
        """Run the command line in a fresh process; what it prints."""
        return self._run("-m", "convsmith", *words)

    def _run(self, *words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(self.folder), "COLUMNS": "100"}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=environment, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def house(tmp_path: Path) -> House:
    source = Path(convsmith.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, tmp_path / "convsmith", ignore=ignored)
    return House(tmp_path)


OPERATION = '''
"""Bessel functions: one value in, one value out."""

from convsmith.network.families.family import Family, Trait
from convsmith.network.families.rules import axes_in_place, first, per_value, same_channels, unmoved

__all__ = ["FAMILIES"]

FAMILIES = (
    Family(
        kind="bessel",
        about="a Bessel function of each value",
        names="special_bessel_j1",
        traits=Trait.POINTWISE,
        cost=per_value(7),
        reads=first,
        axes=axes_in_place,
        carry=same_channels,
        step=unmoved,
    ),
)
'''

USE_OPERATION = """
import torch, convsmith as cs
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)
    def forward(self, x):
        return torch.special.bessel_j1(self.conv(x))
report = cs.inspect(Net(), (1, 1, 8, 8))
print(report.layers[-1].flops, report.status, report.receptive_field.size)
print(cs.dilate(Net(), (1, 1, 8, 8), output_stride=1).certificate.exact)
"""


def an_operation(house: House) -> None:
    house.write("network/families/bessel.py", OPERATION.lstrip())
    name = "network/families/__init__.py"
    house.edit(name, "\n    activation,\n", "\n    activation,\n    bessel,\n")
    house.edit(name, "\n    activation, ", "\n    bessel, activation, ")
    old = '    "activation": _IN_PLACE,\n'
    house.edit("rewrite/dilation/rule.py", old, old + old.replace("activation", "bessel"))
    old = '    "roll": "it moves pixels",\n'
    row = '    "bessel": "it is a series",\n'
    house.edit("runtime/lowering/table.py", old, old + row)
    assert house.python(USE_OPERATION) == "504 exact (3, 3)\nTrue"


def a_name_in_a_family(house: House) -> None:
    name = "network/families/activation.py"
    house.edit(name, 'names="""celu ', 'names="""special_bessel_j1 celu ')
    assert house.python(USE_OPERATION) == "72 exact (3, 3)\nTrue"


def an_activation(house: House) -> None:
    old = '    "mish": Activation(_mish),\n'
    new = '    "square": Activation(lambda value: value * value),\n'
    house.edit("kernels/activation.py", old, old + new.replace("square", "hardshrink"))
    code = """
import torch, convsmith as cs
conv = torch.nn.Conv2d(8, 8, 1)
fast = cs.compile(torch.nn.Sequential(conv, torch.nn.Hardshrink()), (1, 8, 8, 8))
x = torch.rand(1, 8, 8, 8)
print(torch.allclose(fast(x), conv(x) ** 2, atol=1e-5))  # so it was this entry that ran
"""
    assert house.python(code) == "True"


def a_lighter_form(house: House) -> None:
    text = '''
"""Tucker's form at an eighth of the channels."""

from convsmith.nn.forms.tucker import TuckerConv

__all__ = ["RingConv"]


class RingConv(TuckerConv, form="ring"):
    """A Tucker form that has one rank only."""

    @classmethod
    def ranks(cls, conv):
        inner, outer = cls.full_rank(conv)
        return [(max(1, inner // 8), max(1, outer // 8))]
'''
    house.write("nn/forms/ring.py", text.lstrip())
    code = """
import torch, convsmith as cs
torch.manual_seed(0)
def build():
    # So large that the form is several times as fast on any machine: slower ones are refused.
    return torch.nn.Sequential(torch.nn.Conv2d(128, 128, 3), torch.nn.Conv2d(128, 128, 3)).eval()
images = torch.rand(8, 128, 48, 48)
light = cs.lighten(build(), images, forms=["ring"], macs=0.9)
print(sum(type(module).__name__ == "RingConv" for module in light.model.modules()) > 0)
again = cs.load(light.save("light"), build()).eval()
print(torch.equal(again(images), light.model.eval()(images)))
"""
    assert house.python(code) == "True\nTrue"


def a_scene(house: House) -> None:
    text = '''
"""A single value."""

from typing import Annotated

from convsmith.draw.command import Command, Option
from convsmith.draw.example import Example
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.dressed import dressed
from convsmith.draw.storyboard import Cell, Panel, Step
from convsmith.draw.words import text

__all__ = ["COMMANDS", "EXAMPLES", "WORDS", "dot"]

WORDS = {"title.dot": ("A dot", "一点"), "describe.dot": ("One value.", "一个值。")}


def dot(value: int = 1, *, language: str = "en", theme: str = "auto") -> Scene:
    """Draw one value."""
    panel = Panel("one", "input", (1, 1), (Cell((0, 0), value),), 0, 0)
    title, described = text("title.dot"), text("describe.dot")
    return dressed(Scene("dot", title, described, (panel,), (Step(title),)), language, theme)


def _command(value: Annotated[int, Option("The value.")] = 7) -> Scene:
    """Draw a dot."""
    return dot(value)


COMMANDS = (Command("dot", _command),)
EXAMPLES = (Example("dot", "standard", "A dot", "一点", dot),)
'''
    house.write("draw/scenes/dot.py", text.lstrip())
    house.convsmith("draw", "dot", "--value", "3", "--language", "zh", "-o", "dot.svg")
    assert "一点" in (house.folder / "dot.svg").read_text("utf-8")
    assert "dot" in house.convsmith("draw", "--help")
    code = """
import convsmith as cs
from convsmith.draw.catalogue import catalogue
print(cs.draw.dot(5), "dot.svg" in [each.file for each in catalogue().examples])
"""
    assert house.python(code) == "Scene('dot', 1 panels, 1 steps) True"


def a_verb(house: House) -> None:
    text = '''
"""`convsmith greet`: say hello."""

from typing import Annotated

import typer


def command(name: Annotated[str, typer.Option(help="Whom to greet.")] = "all") -> None:
    """Say hello."""
    print(f"hello, {name}")
'''
    house.write("cli/greet.py", text.lstrip())
    row = '    "greet": Verb("convsmith.cli.greet", "Say hello"),\n'
    house.edit("cli/main.py", "\nVERBS = {\n", "\nVERBS = {\n" + row)
    assert house.convsmith("greet", "--name", "reader") == "hello, reader"
    assert "Say hello" in house.convsmith("--help")
    assert "Whom to greet." in house.convsmith("greet", "--help")


FOLLOWED: list[tuple[str, Callable[[House], None], int]] = [
    ("An operation", a_name_in_a_family, 1),
    ("An operation", an_operation, 4),
    ("An activation in kernels", an_activation, 1),
    ("A lighter form", a_lighter_form, 1),
    ("A scene", a_scene, 1),
    ("A verb", a_verb, 2),
]


def recipes() -> dict[str, str]:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    return dict(RECIPES.findall(text[text.index("## How to add") :]))


def test_every_recipe_is_followed() -> None:
    assert list(recipes()) == list(dict.fromkeys(title for title, _, _ in FOLLOWED))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "follow", "files"),
    thinned(FOLLOWED, 2),
    ids=[each.__name__ for _, each, _ in FOLLOWED],
)
def test_a_recipe_is_enough(
    title: str, follow: Callable[[House], None], files: int, house: House
) -> None:
    follow(house)
    touched = set(house.touched)
    assert len(touched) == files
    for name in touched:  # the recipe names each file, or the folder of a new one
        assert name in recipes()[title] or f"convsmith/{Path(name).parent}/" in recipes()[title]


@pytest.mark.parametrize("title", recipes())
def test_what_a_recipe_names_is_there(title: str) -> None:
    text = recipes()[title]
    paths = re.findall(r"`((?:src|tests)/[\w/.]+)`", text)
    paths += re.findall(r"(?<!src/)\btests/[\w/]+(?:\.py)?", text)
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []
