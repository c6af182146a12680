"""Files that appear whole or not at all, data on one stream and talk on the other."""

from __future__ import annotations

import json
import math
import os
import pty
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsmith.cli.output import as_json, check_targets, console, emit, progress, steps, write
from convsmith.errors import ArgumentError
from convsmith.report import Column, Table
from convsmith.report.progress import Lines

from .conftest import Run


@dataclass(frozen=True)
class Sample:
    """What verbs report, in small."""

    macs: int = 9

    def to_dict(self) -> dict[str, Any]:
        return {"report": "sample", "version": 1, "macs": self.macs}

    def table(self) -> Table:
        return Table([Column("macs", "MACs")], [(self.macs,)])

    def to_csv(self) -> str:
        return self.table().to_csv()

    def to_html(self) -> str:
        return "<!doctype html>"


def test_by_default_a_table_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Sample())
    out, err = capsys.readouterr()
    assert out.split() == ["MACs", "────", "9"] and err == ""


def test_a_wide_table_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Sample(), table=Table([Column("a", "a"), Column("b", "b")], [("x" * 300, "y" * 300)]))
    assert f"{'x' * 300}  {'y' * 300}" in capsys.readouterr().out


def test_json_to_standard_output_is_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    import convsmith

    emit(Sample(), json="-")
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == "" and out.endswith("\n")
    assert document == {
        "convsmith": convsmith.__version__,
        "report": "sample",
        "version": 1,
        "macs": 9,
    }


def test_each_format_to_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {kind: str(tmp_path / f"report.{kind}") for kind in ("json", "csv", "html")}
    emit(Sample(), **paths)  # type: ignore[arg-type]
    assert json.loads(Path(paths["json"]).read_text())["macs"] == 9
    assert Path(paths["csv"]).read_bytes() == b"macs\r\n9\r\n"
    assert Path(paths["html"]).read_text() == "<!doctype html>"
    told = "".join(f"wrote {paths[kind]}\n" for kind in ("json", "csv", "html"))
    assert capsys.readouterr() == ("", told)
    assert sorted(os.listdir(tmp_path)) == ["report.csv", "report.html", "report.json"]


def test_a_file_is_overwritten_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("mine")
    with pytest.raises(ArgumentError, match=r"report\.json' exists; pass --force"):
        emit(Sample(), json=str(path))
    assert path.read_text() == "mine"
    emit(Sample(), json=str(path), force=True)
    assert json.loads(path.read_text())["macs"] == 9


def test_one_file_that_may_not_be_written_keeps_the_others_from_appearing(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("mine")
    with pytest.raises(ArgumentError, match="exists"):
        emit(Sample(), json=str(tmp_path / "new.json"), csv=str(tmp_path / "old.csv"))
    assert os.listdir(tmp_path) == ["old.csv"]


def test_a_report_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def page() -> str:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        emit(Sample(), page=page, json=str(tmp_path / "a.json"), html=str(tmp_path / "a.html"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("-", "-"), "only one report can go to standard output"),
        (("no/such.json",), "no folder 'no'"),
        (("",), "not a file"),
        (("folder",), "not a file"),
        (("same", "./same"), "two reports"),
        (("file",), "'file' exists"),
        (("link",), "'link' exists"),
    ],
)
def test_targets_that_cannot_be_written_are_refused(
    here: Path, targets: tuple[str, ...], message: str
) -> None:
    (here / "folder").mkdir()
    (here / "file").write_text("mine")
    (here / "link").symlink_to("file")
    with pytest.raises(ArgumentError, match=message):
        check_targets(*targets)


def test_targets_that_can_be_written_pass(here: Path) -> None:
    (here / "file").write_text("mine")
    check_targets(None, "-", "new.json")
    check_targets("file", "new.json", force=True)


def test_the_json_of_a_command_is_not_written_over_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("mine")
    done = run("doctor", "--json", "out.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "convsmith: 'out.json' exists; pass --force to replace it\n"
    assert (tmp_path / "out.json").read_text() == "mine"


def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write(str(tmp_path / "a"), "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


numbers = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
plain = st.recursive(
    numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(plain)
def test_json_says_what_it_was_given_and_null_for_what_is_no_number(value: Any) -> None:
    def expected(v: Any) -> Any:
        if isinstance(v, float) and not math.isfinite(v):
            return None
        if isinstance(v, list):
            return [expected(item) for item in v]
        return {k: expected(item) for k, item in v.items()} if isinstance(v, dict) else v

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(as_json({"v": value}), parse_constant=refuse)["v"] == expected(value)


def test_json_takes_numbers_of_numpy_and_torch() -> None:
    values = {"a": np.float32(0.5), "b": torch.tensor([1, 2]), "c": Path("x"), "d": (Sample(),)}
    document = json.loads(as_json(values))
    assert document["a"] == 0.5 and document["b"] == [1, 2] and document["c"] == "x"
    assert document["d"][0]["macs"] == 9
    with pytest.raises(TypeError, match="object has no place"):
        as_json({"a": object()})


def test_off_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("counting", 2) as advance, steps() as step:
        advance()
        advance(n=1)
        step("training", 1, 2)
        step("training", 2, 2)
        step("judging", 1, 1)
    assert capsys.readouterr() == ("", "")  # it was over soon


def test_off_a_terminal_long_work_prints_a_line_for_each_thing_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(patience=0)
    for what, done, of in [("training", 1, 2), ("training", 2, 2), ("judging", 1, 1)]:
        lines(what, done, of)
    assert capsys.readouterr() == ("", "training\njudging\n")


BAR = """
import os
from convsmith.cli.output import progress, steps
with progress("counting [3, 1]", 2) as advance:
    advance(2)
with steps() as step:
    step("training", 1, 2)
    step("training", 2, 2)
    step("judging", 1, 1)
print("data")
"""


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_on_a_terminal_the_bar_goes_to_standard_error(
    variables: dict[str, str], tmp_path: Path
) -> None:
    import subprocess

    from .conftest import SOURCES

    terminal, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", BAR],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**env, "PYTHONPATH": str(SOURCES), "TERM": "xterm", "COLUMNS": "100", **variables},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how a terminal says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert (process.returncode, out) == (0, b"data\n")
    for words in (b"counting [3, 1]", b"2/2", b"training", b"judging"):
        assert words in shown
    assert (b"\x1b[38;" in shown or b"\x1b[3" in shown) != bool(variables)


def test_the_console_writes_no_escapes_into_a_pipe_and_reads_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console().print("shape [1, 3] [bold]x[/bold] :smile:", style="red")
    assert capsys.readouterr().out == "shape [1, 3] [bold]x[/bold] :smile:\n"
