"""A benchmark that measured nothing has reached no goal."""

import json
from argparse import Namespace

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.choice import chosen
from convsmith.errors import ArgumentError


def test_a_word_picks_the_cells_with_it_in_their_name():
    cells = {"resnet": 1, "unet": 2, "vgg": 3}
    assert chosen(cells, "") == cells
    assert chosen(cells, "net") == {"resnet": 1, "unet": 2}
    with pytest.raises(ArgumentError, match=r"'224' is in no cell's name: resnet, unet, vgg"):
        chosen(cells, "224")
    with pytest.raises(ArgumentError, match="did you mean 'resnet'"):
        chosen(cells, "resent")


@pytest.mark.parametrize(
    ("name", "measures"),
    [
        ("networks", "networks"),
        ("families", "networks"),
        ("layers", "layers"),
        ("promise", "promise"),
    ],
)
@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_a_word_that_is_in_no_name_is_an_error(name, measures, quick, capsys, monkeypatch):
    def measured(*given):
        raise AssertionError("nothing is timed before the cells are known")

    monkeypatch.setattr(f"benchmarks.{measures}.limits", measured, raising=True)
    monkeypatch.setattr("benchmarks.machine.record", lambda dropped: {})
    assert benchmarks.main([name, "--only", "nothing-of-that-name", *quick]) == 2
    out, err = capsys.readouterr()
    assert "--only 'nothing-of-that-name' is in no cell's name" in err and "goals" not in out


@pytest.mark.parametrize("result", [{"rows": []}, {"rows": [], "views": []}, {"seconds": 3}])
def test_no_rows_reach_no_goals(result, capsys, monkeypatch, tmp_path):
    class Empty:
        @staticmethod
        def options(parser): ...

        @staticmethod
        def run(options: Namespace):
            return {**result, "missed": []}

    monkeypatch.setattr(benchmarks, "load", lambda name: Empty)
    monkeypatch.setattr("benchmarks.machine.record", lambda dropped: {})
    target = tmp_path / "figures.json"
    assert benchmarks.main(["networks", "--json", str(target)]) == 1
    out, err = capsys.readouterr()
    assert "nothing was measured" in err and "goals" not in out and not target.exists()


def test_every_benchmark_gives_what_the_check_looks_at():
    """The figures that are kept in this folder, and the check, mean the same by a table."""
    assert benchmarks._is_table([{"ms": 1}]) and benchmarks._is_table(json.loads('[{"ms": 1}]'))
    assert not benchmarks._is_table(["line"]) and not benchmarks._is_table({"ms": 1})
