"""What every room says of an error, and of a file that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import convsmith as cs
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


class _Few(nn.Module):
    """Refuses what is larger than its example, without a word."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > 16:
            raise AssertionError  # as `assert` does, which pytest would give a text
        return x


def test_a_bare_assert_in_a_model_is_told_by_its_kind() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), _Few(), nn.Conv2d(2, 2, 3, padding=1))
    notes = cs.dilate(net, (1, 1, 16, 16), output_stride=1).certificate.notes
    assert "the new model does not take a size of +1×+1: AssertionError" in notes


# Each takes a message apart by hand, with a reason.
_BY_HAND = {
    "errors.py",  # the one place
    "kernels/library.py",  # looks for the line of a compiler's that says "error"
}


def test_no_room_takes_the_first_line_by_hand() -> None:
    source = Path(cs.__file__).parent
    pattern = re.compile(
        r"str\(\w+\)(\.strip\(\))?\.(splitlines|partition|split)\(|stderr\S*splitl"
    )
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found - _BY_HAND == set(), "use errors.first_line"


def test_no_room_joins_sizes_by_hand() -> None:
    source = Path(cs.__file__).parent
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"""["']×["']\.join""", path.read_text(encoding="utf-8"))
    }
    assert found == set(), "use text.times"
