"""Machine code is made by the compiler there is, kept, checked, and never taken from a stranger."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.kernels import library as module
from convsmith.kernels.isa import Isa
from convsmith.kernels.library import Library, compiler
from convsmith.kernels.rows import RowSum, Unpack

KERNEL = RowSum()


@pytest.fixture(autouse=True)
def _forget_compiler() -> Iterator[None]:
    compiler.cache_clear()
    yield
    compiler.cache_clear()


def _script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def test_compiled_once_and_loaded_again(
    isa: Isa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Library(isa, tmp_path)
    address = first.address(KERNEL)
    assert address
    assert first.address(KERNEL) == address
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 2
    monkeypatch.setattr(module, "_link", lambda *_: pytest.fail("nothing is to be compiled"))
    assert Library(isa, tmp_path).address(KERNEL) == address
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize("what", ["version", "halide", "source", "target"])
def test_another_version_is_another_file(
    isa: Isa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    library = Library(isa, tmp_path)
    before = library._key("name", "source")
    if what == "version":
        monkeypatch.setattr(module, "__version__", "0.0.0")
    elif what == "halide":
        monkeypatch.setattr(module, "version", lambda _: "0.0.0")
    elif what == "target":
        library._target = "another machine"
    source = "other source" if what == "source" else "source"
    assert library._key("name", source) != before


def test_damaged_kernel_is_compiled_again(isa: Isa, tmp_path: Path) -> None:
    Library(isa, tmp_path).address(KERNEL)
    for path in tmp_path.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.unlink()  # it is loaded here: a file that is written over would change under us
        path.write_bytes(content)
    script = (
        "import sys; from pathlib import Path\n"
        "from convsmith.kernels.isa import ISAS\n"
        "from convsmith.kernels.library import Library\n"
        "from convsmith.kernels.rows import RowSum\n"
        "assert Library(ISAS[sys.argv[1]], Path(sys.argv[2])).address(RowSum())\n"
    )
    subprocess.run([sys.executable, "-c", script, isa.name, str(tmp_path)], check=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_two_processes_compile_at_once(isa: Isa, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from convsmith.kernels.isa import ISAS\n"
        "from convsmith.kernels.library import Library\n"
        "from convsmith.kernels.rows import RowSum, Unpack\n"
        "sys.stdin.read(1)\n"
        "library = Library(ISAS[sys.argv[1]], Path(sys.argv[2]))\n"
        "library.prepare([RowSum(), Unpack(True)])\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, isa.name, str(tmp_path)], stdin=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in running:
        process.communicate(b"go")
    assert [process.returncode for process in running] == [0, 0, 0]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert not any(name.startswith(".") for name in names)


def test_progress(isa: Isa, tmp_path: Path) -> None:
    library = Library(isa, tmp_path)
    seen: list[tuple[int, int, object]] = []
    wanted = [KERNEL, Unpack(planar=True), KERNEL]
    assert library.missing(wanted) == wanted[:2]
    library.prepare(wanted, lambda *step: seen.append(step))
    assert seen == [(1, 2, KERNEL), (2, 2, Unpack(planar=True))]
    assert library.missing(wanted) == []
    library.prepare(wanted, lambda *_: pytest.fail("nothing is to be done"))


def test_no_compiler(isa: Isa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() is None
    with pytest.raises(ConvsmithError, match="no C compiler: install gcc or clang, or set CC"):
        Library(isa, tmp_path / "cache")


def test_compiler_with_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _script(tmp_path / "my cc", "exit 0")
    monkeypatch.setenv("CC", f"'{mine}' -m64 -g")
    assert compiler() == (mine, "-m64", "-g")


def test_missing_compiler_of_the_environment_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = _script(tmp_path / "gcc", "exit 0")
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() == (other,)


def test_unbalanced_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc 'x")
    with pytest.raises(ConvsmithError, match=r"CC=\"gcc 'x\" is not a command"):
        compiler()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("echo 'note: hm' >&2", "echo 'fatal error: out of luck' >&2", "exit 1"), "out of luck"),
        (("exit 3",), "exit 3"),
        (("exit 0",), "exit 0"),  # success, it says, and no file
        (("kill -9 $$",), "exit -9"),
    ],
)
def test_failing_compiler_is_named(
    isa: Isa,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    reason: str,
) -> None:
    broken = _script(tmp_path / "broken-cc", *lines)
    monkeypatch.setenv("CC", broken)
    with pytest.raises(ConvsmithError, match=f"{re.escape(broken)} cannot link.*{reason}") as seen:
        Library(isa, tmp_path / "cache")
    assert "\n" not in str(seen.value)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_compiler_that_cannot_be_run(
    isa: Isa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "cc"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(ConvsmithError, match=re.escape(str(broken))):
        Library(isa, tmp_path / "cache")


def test_object_that_cannot_be_loaded(
    isa: Isa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `cc -shared -fPIC -o OUTPUT`: it leaves a file that is no shared object.
    monkeypatch.setenv("CC", _script(tmp_path / "odd-cc", 'echo text > "$4"'))
    with pytest.raises(ConvsmithError, match="cannot be loaded"):
        Library(isa, tmp_path / "cache")


def test_killed_compilation_leaves_nothing(isa: Isa, tmp_path: Path) -> None:
    killer = _script(tmp_path / "cc", 'echo half > "$4"', "kill -9 $PPID")
    script = (
        "import sys; from pathlib import Path\n"
        "from convsmith.kernels.isa import ISAS\n"
        "from convsmith.kernels.library import Library\n"
        "Library(ISAS[sys.argv[1]], Path(sys.argv[2]))\n"
    )
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", script, isa.name, str(cache)],
        env={**os.environ, "CC": killer, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == -9
    assert not cache.exists() or not list(cache.iterdir())
    assert Library(isa, cache).address(KERNEL)
