"""What the doctor finds, against the system's own words."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import torch

from convsmith.cli import doctor, main
from convsmith.cli.doctor import EXTRAS, report
from convsmith.machine import cache_folder, cgroup_cpus, instruction_sets

from .conftest import Run


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=\[]", line)[0] for line in requirements}

    optional = project["optional-dependencies"]
    assert {name: set(extra.packages) for name, extra in EXTRAS.items()} == {
        name: names(lines) for name, lines in optional.items() if name not in ("all", "cli", "dev")
    }
    assert set(doctor.CORE) == names(project["dependencies"])


def test_versions_are_those_installed() -> None:
    found = report()
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["torch"]["threads"] == torch.get_num_threads()
    assert found["torch"]["uses"] == torch.backends.cpu.get_cpu_capability()
    assert found["torch"]["error"] is None
    assert found["threads"]["processors"] == os.cpu_count()


def test_json_on_standard_output(run: Run) -> None:
    done = run("doctor", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(document)[:3] == ["convsmith", "report", "version"]
    assert (document["report"], document["version"]) == ("doctor", 1)
    assert document["extras"]["draw"]["install"] == "pip install 'convsmith[draw]'"


def test_the_table_in_a_pipe_has_no_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("CONVSMITH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/no/where")
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "\x1b" not in out
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert metadata.version("torch") in rows["torch"]
    assert sum(line.startswith("halide") for line in out.splitlines()) == 1
    assert rows["OMP_NUM_THREADS"].endswith(" 1")
    assert rows["cache"].split()[1] == "/no/where/convsmith/kernels"
    for name, extra in EXTRAS.items():
        assert extra.adds in rows[f"[{name}]"]


def test_a_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", str(tmp_path / "report.json")]) == 0
    assert capsys.readouterr() == ("", f"wrote {tmp_path / 'report.json'}\n")
    assert json.loads((tmp_path / "report.json").read_text())["report"] == "doctor"


def test_a_missing_package_is_told_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = metadata.version

    def without(package: str) -> str:
        if package in ("safetensors", "pillow"):
            raise metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(metadata, "version", without)
    assert main(["doctor"]) == 1  # a core package is missing
    out, err = capsys.readouterr()
    assert re.search(r"^safetensors +missing: pip install safetensors$", out, re.MULTILINE)
    assert re.search(r"^ +pip install 'convsmith\[data\]' adds pillow$", out, re.MULTILINE)
    assert err == ""


def test_a_torch_that_cannot_be_imported_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> None:
        raise ImportError("libgomp.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(doctor, "import_module", broken)
    assert main(["doctor"]) == 1
    out, _ = capsys.readouterr()
    assert "cannot be imported: libgomp.so.1: cannot open shared object file\n" in out


@pytest.mark.parametrize(
    ("flags", "machine", "expected"),
    [
        ("fpu sse2", "x86_64", []),
        ("avx2 fma avx512f avx512_vnni", "x86_64", ["AVX2", "FMA", "AVX-512F", "AVX-512-VNNI"]),
        ("avx_vnni avx512_bf16 amx_tile", "x86_64", ["AVX-512-BF16", "AVX-VNNI", "AMX"]),
        ("FPU AVX1.0 AVX2", "x86_64", ["AVX2"]),
        (
            "fp asimd asimddp i8mm bf16",
            "aarch64",
            ["NEON", "NEON-DOTPROD", "NEON-I8MM", "NEON-BF16"],
        ),
        ("half thumb neon", "armv7l", ["NEON"]),
        ("", "arm64", ["NEON"]),
    ],
)
def test_instruction_sets(flags: str, machine: str, expected: list[str]) -> None:
    assert instruction_sets(flags.split(), machine) == expected


@pytest.fixture
def group(tmp_path: Path) -> Callable[[str, dict[str, str]], float | None]:
    """A fake system of control groups: their files, and the group that this process is in."""

    def make(membership: str, files: dict[str, str]) -> float | None:
        for name, content in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "cgroup").write_text(membership)
        return cgroup_cpus(tmp_path / "fs", tmp_path / "cgroup")

    return make


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "300000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "max 100000", "a/b/cpu.max": "250000 100000"}, 2.5),
        ("0::/outside/the/container\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        (
            "5:memory:/x\n4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"},
            4.0,
        ),
        (
            "4:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("", {"cpu.max": "50000 100000"}, None),
    ],
)
def test_the_quota_of_control_groups(
    group: Callable[[str, dict[str, str]], float | None],
    membership: str,
    files: dict[str, str],
    expected: float | None,
) -> None:
    assert group(membership, files) == expected


def test_without_control_groups(tmp_path: Path) -> None:
    assert cgroup_cpus(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CONVSMITH_CACHE": "/srv/x", "XDG_CACHE_HOME": "/var/cache/me"}, Path("/srv/x")),
        ({"CONVSMITH_CACHE": "~/x"}, Path.home() / "x"),
        ({"CONVSMITH_CACHE": "x"}, Path.cwd() / "x"),
        ({"XDG_CACHE_HOME": "/var/cache/me"}, Path("/var/cache/me/convsmith/kernels")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache" / "convsmith" / "kernels"),
        ({}, Path.home() / ".cache" / "convsmith" / "kernels"),
    ],
)
def test_the_cache_folder(variables: dict[str, str], expected: Path) -> None:
    assert cache_folder(variables) == expected


def test_the_cache_is_the_one_that_kernels_are_kept_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("convsmith.kernels.library")
    isa = pytest.importorskip("convsmith.kernels.isa").choose_isa(None)
    for folder in ("here", "there"):
        monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / folder))
        kept = library.Library(isa).cache.root
        assert report()["cache"]["path"] == str(kept) == str(tmp_path / folder)


def test_a_cache_that_others_may_write_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o770)
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    assert main(["doctor"]) == 0
    assert f"others may write to {tmp_path}, so it is not used" in capsys.readouterr().out


def test_a_compiler_that_no_shell_could_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc 'x")
    assert "is not a command" in report()["compilers"]["C"]["version"]


def test_the_compiler_that_the_environment_names_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mycc"
    mine.write_text("#!/bin/sh\necho my compiler 1.2\necho more\n")
    mine.chmod(0o755)
    monkeypatch.setenv("CC", f"{mine} -O2")
    assert report()["compilers"]["C"] == {"path": str(mine), "version": "my compiler 1.2"}
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert report()["compilers"]["C"] is None
