"""What every room says of an error, and of a file that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.errors import first_line, kind_and_line, last_line, no_file
from convsmith.text import times

SAYINGS = [
    (ValueError("one line"), "one line", "one line"),
    (ValueError("\n\n  first\nmiddle\n  last \n\n"), "first", "last"),
    (ValueError("first\r\n\r\nlast"), "first", "last"),
    (AssertionError(), "AssertionError", "AssertionError"),
    (RuntimeError("  \n\t\n"), "RuntimeError", "RuntimeError"),
    (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt"),
    (KeyError("name"), "'name'", "'name'"),
    (ValueError(None), "None", "None"),
    ("", "", ""),
    ("  \n ", "", ""),
    ("error: a\nb", "error: a", "b"),
    (None, "", ""),
]


@pytest.mark.parametrize(("error", "first", "last"), SAYINGS)
def test_one_line_of_every_error(error: BaseException | str | None, first: str, last: str) -> None:
    assert (first_line(error), last_line(error)) == (first, last)


def test_the_kind_is_not_said_twice() -> None:
    assert kind_and_line(AssertionError()) == "AssertionError"
    assert kind_and_line(ValueError("no\nmore")) == "ValueError: no"


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    (tmp_path / "weights.py").touch()
    path = tmp_path / "weigths.pth"
    assert no_file(path) == f"there is no file {str(path)!r}; did you mean 'weights.pth'?"
    assert no_file(path, "*.py").endswith("did you mean 'weights.py'?")
    assert no_file("/nowhere/at all") == "there is no file '/nowhere/at all'"


def test_times() -> None:
    assert times((1, 3, 224)) == "1×3×224"
    assert times([]) == ""
    assert times((2, 3), " × ") == "2 × 3"
