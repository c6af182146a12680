"""Exit codes, the two output streams, and what is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.cli import main
from convsmith.cli.main import VERBS, Verb, _name_the_streams, _one_line
from convsmith.errors import ArgumentError, DataError, MissingExtra, ModelError

from .conftest import SOURCES, Run

HEAVY = {"torch", "numpy", "rich", "PIL", "sklearn"}
IMPORTED = f"""
import sys
from convsmith.cli import main
code = main(sys.argv[1:])
print("imported", sorted({HEAVY} & set(sys.modules)), "exit", code, file=sys.stderr)
"""


@pytest.fixture
def verb(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A verb `act` whose body is given as source."""
    monkeypatch.syspath_prepend(str(here))

    def write(body: str) -> None:
        (here / "acting.py").write_text(f"def command(n: int = 0) -> None:\n    {body}\n")
        monkeypatch.setitem(VERBS, "act", Verb("acting", "Act"))

    return write


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_lists_the_verbs_on_standard_output(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 0 and done.stderr == ""
    for name, verb in VERBS.items():
        assert f"  {name} " in done.stdout and verb.help in done.stdout


def test_version(run: Run) -> None:
    import convsmith

    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"convsmith {convsmith.__version__}\n")


def test_the_help_of_a_verb_names_its_options(run: Run) -> None:
    done = run("doctor", "--help")
    assert done.returncode == 0 and "--json" in done.stdout and "convsmith doctor" in done.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["inspct"], 2),
        (["--hlp"], 2),
        (["doctor", "--jsn"], 2),
        (["doctor", "--help"], 0),
        (["doctor", "--json", "no/such/folder.json"], 2),
    ],
)
def test_nothing_heavy_is_imported_for_help_and_usage_errors(
    run: Run, words: list[str], code: int
) -> None:
    done = run(*words, code=IMPORTED)
    assert done.stderr.splitlines()[-1] == f"imported [] exit {code}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "convsmith: no verb given: `convsmith --help` lists them"),
        (["doctr"], "convsmith: no such verb: 'doctr'; did you mean 'doctor'?"),
        (["?"], "convsmith: no such verb: '?'; `convsmith --help` lists them"),
        (["--verson"], "convsmith: no such option: '--verson'; did you mean '--version'?"),
    ],
)
def test_a_usage_error_is_one_line_and_exits_2(run: Run, words: list[str], message: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message + "\n")


def test_the_usage_errors_of_a_verb_come_from_the_same_mould(run: Run) -> None:
    done = run("doctor", "--jsn")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("convsmith: ") and "--json" in done.stderr
    assert "`convsmith doctor --help`" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("pass", 0, ""),
        ("import convsmith.errors as e; raise e.ModelError('no', 'such')", 1, "('no', 'such')"),
        ("import convsmith.errors as e; raise e.DataError('first\\n  second')", 1, "first second"),
        ("import convsmith.errors as e; raise e.ArgumentError('bad')", 2, "bad"),
        (
            "import convsmith.errors as e; raise e.MissingExtra('x', extra='y', package='z')",
            1,
            "x needs z: pip install 'convsmith[y]'",
        ),
        (
            "raise KeyError('k')",
            1,
            "KeyError: 'k' (a bug in convsmith; --debug shows where: please report",
        ),
        ("raise MemoryError", 1, "out of memory"),
        ("raise FileNotFoundError(2, 'No such file', 'x')", 1, "[Errno 2] No such file: 'x'"),
        ("import nowhere", 1, "No module named 'nowhere' (`convsmith doctor` shows what is instal"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("import typer; raise typer.Abort", 130, "interrupted"),
        ("import typer; raise typer.Exit(1)", 1, ""),
    ],
)
def test_how_a_verb_ends(
    verb: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    body: str,
    code: int,
    said: str,
) -> None:
    verb(body)
    assert main(["act"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"convsmith: {said}") if said else err == ""
    assert err.count("\n") == bool(said)


@pytest.mark.parametrize("error", [ModelError, DataError, ArgumentError])
def test_debug_shows_the_traceback_and_keeps_the_code(
    verb: Callable[[str], None], capsys: pytest.CaptureFixture[str], error: type[Exception]
) -> None:
    verb(f"from convsmith.errors import {error.__name__}; raise {error.__name__}('told')")
    plain = main(["act"])
    assert "Traceback" not in capsys.readouterr().err
    for words in (["--debug", "act"], ["act", "--debug"]):
        assert main(words) == plain
        err = capsys.readouterr().err
        assert "Traceback" in err and err.endswith("convsmith: told\n")


def test_a_missing_extra_counts_as_failure_though_it_is_an_import_error() -> None:
    assert issubclass(MissingExtra, ImportError)  # so its order among the handlers matters


def test_warnings_of_libraries_stay_away_unless_asked_for(
    verb: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb("import warnings; warnings.warn('deprecated')")
    assert main(["act"]) == 0 and capsys.readouterr().err == ""


def test_a_verb_whose_file_is_missing_is_not_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VERBS, "later", Verb("convsmith.cli.no_such_file", "Comes later"))
    assert main(["--help"]) == 0 and "later" not in capsys.readouterr().out
    assert main(["later"]) == 2


def test_every_verb_in_the_table_has_its_file_and_a_command() -> None:
    from importlib import import_module
    from importlib.util import find_spec

    for verb in VERBS.values():
        if find_spec(verb.module):
            assert callable(import_module(verb.module).command)


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "convsmith", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_a_stream_without_unicode_gets_question_marks(verb: Callable[[str], None]) -> None:
    code = "import sys\nfrom convsmith.cli.main import main\nmain(['--version'])\nprint('3×3')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == b"3?3"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--json"], ["--json=-"]),
        (["--json", "-"], ["--json=-"]),
        (["--json", "a.json", "m"], ["--json=a.json", "m"]),
        (["--json", "A.JSON"], ["--json=A.JSON"]),
        (["--json", "torchvision:resnet18"], ["--json=-", "torchvision:resnet18"]),
        (["--json", "light/", "--csv"], ["--json=-", "light/", "--csv=-"]),
        (["--json", "--csv", "a.csv"], ["--json=-", "--csv=a.csv"]),
        (["--html", "a.htm"], ["--html=a.htm"]),
        (["--json=a.txt"], ["--json=a.txt"]),
        (["--", "--json"], ["--", "--json"]),
        (["--json", "--", "a.json"], ["--json=-", "--", "a.json"]),
    ],
)
def test_an_option_without_its_file_means_standard_output(
    words: list[str], expected: list[str]
) -> None:
    assert _name_the_streams(words) == expected


@given(st.text())
def test_any_message_becomes_one_printable_line(message: str) -> None:
    assert _one_line(message).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1))
def test_a_printable_line_stays_as_it_is(message: str) -> None:
    assert _one_line(message) == message


INTERRUPTED = """
import os, signal, time

class Stopped:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})
        for _ in range(100):  # one of these steps is interrupted
            pass

def command() -> None:
    {work}
"""
WORKING = """
import sys
from convsmith.cli.main import VERBS, Verb, main
VERBS["work"] = Verb("work", "")
sys.exit(main(["work"]))
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "work",
    [
        # in a destructor, where Python drops whatever is raised
        "Stopped(); time.sleep(60)",
        # in a library that says something else of it
        "try: Stopped.__del__(None)\n    finally: raise RuntimeError('an empty stack')",
        "try: Stopped.__del__(None)\n    except KeyboardInterrupt: open('/nowhere/at/all')",
    ],
)
def test_an_interrupt_is_neither_lost_nor_called_otherwise(
    tmp_path: Path, work: str, signal: str
) -> None:
    (tmp_path / "work.py").write_text(INTERRUPTED.format(work=work, signal=signal))
    done = subprocess.run(
        [sys.executable, "-c", WORKING], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "convsmith: interrupted\n")
