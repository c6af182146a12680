"""Objects in the user's own code: found, called, and blamed with file and line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convsmith.cli import usercode
from convsmith.errors import ArgumentError, DataError, ModelError

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)

    class Inner:
        def build():
            return "inner"

def build():
    return Net()

number = 3
_hidden = 4
"""


def test_a_file_and_a_module(here: Path) -> None:
    (here / "mine.py").write_text(NET)
    (here / "package").mkdir()
    (here / "package" / "deep.py").write_text(NET)
    assert usercode.find("mine.py:number", ModelError) == 3
    assert usercode.find(f"{here / 'mine.py'}:number", ModelError) == 3
    assert usercode.find("package.deep:number", ModelError) == 3
    assert usercode.find("mine.py:Net.Inner.build", ModelError)() == "inner"


def test_a_file_runs_once_for_several_names(here: Path) -> None:
    (here / "once.py").write_text(
        "from pathlib import Path\nPath('log').open('a').write('x')\na=b=1"
    )
    usercode.find("once.py:a", ModelError)
    usercode.find("once.py:b", ModelError)
    usercode.find("once:b", ModelError)
    assert (here / "log").read_text() == "x"


def test_a_file_finds_its_neighbours_wherever_one_stands(here: Path) -> None:
    (here / "far").mkdir()
    (here / "far" / "neighbour.py").write_text("size = 7")
    (here / "far" / "mine.py").write_text("import neighbour\nsize = neighbour.size")
    assert usercode.find("far/mine.py:size", ModelError) == 7


def test_files_of_one_name_in_two_folders_are_two(here: Path) -> None:
    for name in ("one", "two"):
        (here / name).mkdir()
        (here / name / "same.py").write_text(f"name = {name!r}")
    found = [usercode.find(f"{name}/same.py:name", ModelError) for name in ("one", "two", "one")]
    assert found == ["one", "two", "one"]


def test_a_file_called_like_a_library_takes_no_ones_place(here: Path) -> None:
    import json

    (here / "json.py").write_text("name = 'mine'")
    (here / "random.py").write_text("raise RuntimeError('torch imported the wrong module')")
    assert usercode.find("json.py:name", ModelError) == "mine"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mine.py", ArgumentError, r"mine\.py names a file .*: write mine\.py:Net or mine\.py:bui"),
        ("empty.py", ArgumentError, r"write empty\.py:NAME"),
        ("mine.py:", ArgumentError, "'mine.py:' is neither package.module:name nor file.py:name"),
        (":build", ArgumentError, "neither"),
        ("mine.py:a b", ArgumentError, "neither"),
        ("a-b:build", ArgumentError, "'a-b' is not a module's name"),
        ("mnie.py:build", ModelError, r"no file 'mnie\.py'; did you mean 'mine\.py'"),
        ("no/where.py:build", ModelError, r"no file 'no/where\.py'"),
        ("mine.py:biuld", ModelError, r"mine\.py has no 'biuld'; did you mean 'build'"),
        ("mine.py:Net.Iner", ModelError, "has no 'Net.Iner'; did you mean 'Inner'"),
        ("mine.py:_hiden", ModelError, "has no '_hiden'$"),
        ("mnie:build", ModelError, "no module 'mnie'; did you mean 'mine'"),
        ("timmm:resnet18", ModelError, "no module 'timmm'; did you mean 'timm'"),
        ("package.none:build", ModelError, r"no module 'package\.none'"),
    ],
)
def test_a_spec_that_names_nothing(
    here: Path, spec: str, error: type[Exception], message: str
) -> None:
    (here / "mine.py").write_text(NET)
    (here / "empty.py").write_text("")
    (here / "package").mkdir()
    (here / "package" / "__init__.py").write_text("")
    with pytest.raises(error, match=message):
        usercode.find(spec, ModelError)


def test_a_file_is_not_run_to_suggest_its_names(here: Path) -> None:
    (here / "loud.py").write_text("open('ran', 'w')\ndef build(): ...")
    with pytest.raises(ArgumentError, match=r"loud\.py:build"):
        usercode.find("loud.py", ModelError)
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\nx = nothing", "bad.py failed at bad.py:3: NameError: name 'nothing' is not defined"),
        ("\nx = (", "bad.py failed at bad.py:2: SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(3)", "bad.py failed at bad.py:2: SystemExit: 3"),
        ("raise ValueError", "bad.py failed at bad.py:1: ValueError"),
        (
            "import absent_xyz",
            "bad.py failed at bad.py:1: ModuleNotFoundError: No module named 'ab",
        ),
        (
            "import json\n\njson.loads('{')",  # the line is the user's, not the library's
            "bad.py failed at bad.py:3: JSONDecodeError",
        ),
        ("raise ValueError('first\\nsecond')", "bad.py failed at bad.py:1: ValueError: first"),
    ],
)
def test_code_that_fails_on_import_is_blamed_with_its_line(
    here: Path, source: str, message: str
) -> None:
    (here / "bad.py").write_text(source)
    with pytest.raises(ModelError) as caught:
        usercode.find("bad.py:build", ModelError)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_module_that_fails_is_not_called_absent(here: Path) -> None:
    (here / "halfway.py").write_text("import absent_xyz")
    with pytest.raises(ModelError, match=r"halfway failed at halfway.py:1: .*'absent_xyz'"):
        usercode.find("halfway:build", ModelError)


def test_code_that_fails_inside_a_library_is_blamed_at_its_own_line(here: Path) -> None:
    (here / "far").mkdir()
    (here / "far" / "bad.py").write_text(
        "from torch import nn\n\ndef build():\n    return nn.Conv2d(3, 4, 3, groups=2)\n"
    )
    build = usercode.find("far/bad.py:build", ModelError)
    with pytest.raises(
        ModelError, match=r"far/bad\.py:build failed at bad\.py:4: ValueError: in_ch"
    ):
        usercode.call("far/bad.py:build", build, ModelError)


def test_the_fault_is_of_the_class_that_was_asked_for(here: Path) -> None:
    with pytest.raises(DataError):
        usercode.find("none.py:loader", DataError)


def test_an_interrupt_is_no_fault_of_the_code(here: Path) -> None:
    (here / "slow.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        usercode.find("slow.py:x", ModelError)


def test_arguments_are_passed_as_far_as_they_are_taken(here: Path) -> None:
    def plain() -> str:
        return "plain"

    def split(split: str) -> str:
        return split

    assert usercode.call("x:y", plain, DataError, split="test") == "plain"
    assert usercode.call("x:y", split, DataError, split="test") == "test"
    with pytest.raises(
        DataError, match=r"x:y must be callable without arguments: missing .*'split'"
    ):
        usercode.call("x:y", split, DataError)


def test_what_the_code_prints_goes_to_standard_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "chatty.py").write_text("print('hello')\ndef build(): print('building')")
    usercode.call("chatty.py:build", usercode.find("chatty.py:build", ModelError), ModelError)
    assert capsys.readouterr() == ("", "hello\nbuilding\n")
