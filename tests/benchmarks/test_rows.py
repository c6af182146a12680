"""A benchmark that is cut off has shown, and kept, what it measured until then."""

import json

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import networks
from benchmarks.markdown import main as markdown
from benchmarks.rows import gathered
from convsmith.report import Column, Table


class Cut:
    """Three cells, the last of which never ends."""

    @staticmethod
    def options(parser): ...

    @staticmethod
    def run(options):
        def measure(cell):
            if cell == 3:
                raise KeyboardInterrupt
            return {"cell": cell, "times": {"eager": {"median_ms": 10.0 * cell}}}

        cells = {f"net {each}": each for each in (1, 2, 3)}
        return gathered(cells, measure, lambda rows: {"rows": rows, "missed": []})

    @staticmethod
    def tables(result):
        rows = [(row["cell"],) for row in result["rows"]]
        return [Table([Column("cell", "cell")], rows, title="cells")]


@pytest.fixture
def cut(monkeypatch):
    monkeypatch.setattr(benchmarks, "load", lambda name: Cut)
    monkeypatch.setattr("benchmarks.markdown.load", lambda name: Cut)
    monkeypatch.setattr("benchmarks.machine.record", lambda dropped: {})


def test_a_run_that_is_cut_off_is_read_like_one_that_was_not(cut, tmp_path, capsys):
    target = tmp_path / "figures.json"
    with pytest.raises(KeyboardInterrupt):
        benchmarks.main(["networks", "--json", str(target)])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "net 1, eager 10.0 ms",
        "net 2, eager 20.0 ms",
    ]
    kept = json.loads(target.read_text(encoding="utf-8"))
    assert [row["cell"] for row in kept["rows"]] == [1, 2]
    assert kept["missed"] == ["the run was cut off after 2 of 3 cells"]
    markdown(str(target))
    assert "| 2 |" in capsys.readouterr().out


def test_a_file_that_is_there_is_not_overwritten(cut, tmp_path, capsys):
    target = tmp_path / "figures.json"
    target.write_text("mine")
    assert benchmarks.main(["networks", "--json", str(target)]) == 2
    assert target.read_text() == "mine" and "net 1" not in capsys.readouterr().err


def test_networks_are_made_once_and_measured_at_each_size(monkeypatch):
    made, seen = [], []
    monkeypatch.setattr(networks, "limits", lambda threads: {})
    monkeypatch.setattr(networks, "versions", dict)
    monkeypatch.setattr(networks, "settled", lambda model: model)
    monkeypatch.setattr(
        networks,
        "_row",
        lambda model, size, batch, *more: (
            seen.append((model, size)) or {"size": size, "batch": batch, "errors": {"eager": 1.0}}
        ),
    )
    options = type("Options", (), {"only": "", "threads": 1})
    each = {name: lambda name=name: made.append(name) or name for name in ("a", "b")}
    result = networks.timed(each, ((224, 1), (512, 1)), options)
    assert made == ["a", "b"]
    assert seen == [("a", 224), ("a", 512), ("b", 224), ("b", 512)]
    assert [row["network"] for row in result["rows"]] == ["a", "a", "b", "b"]
    assert result["accuracy"] == [
        {"network": "a", "errors": {"eager": 1.0}},
        {"network": "b", "errors": {"eager": 1.0}},
    ]
