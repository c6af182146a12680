"""The machine underneath, by its own words and on machines that are made up."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

import pytest

from convsmith import machine
from convsmith.machine import cache_problem, find_compiler, is_private, processors


def test_a_quota_limits_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "processors", lambda: 8)
    for quota, usable in ((None, 8), (0.5, 1), (2.0, 2), (2.5, 3), (100.0, 8)):
        monkeypatch.setattr(machine, "cgroup_cpus", lambda quota=quota: quota)
        assert machine.usable_processors() == usable


def test_processors_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert processors() == os.cpu_count()


def test_a_cache_that_serves_badly_is_told_in_one_line(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    file = tmp_path / "file"
    file.touch()
    told = {
        name: cache_problem({"CONVSMITH_CACHE": name})
        for name in (str(private), str(private / "new"), str(shared), str(file), "kernels")
    }
    assert told[str(private)] == told[str(private / "new")] == ""
    assert told[str(shared)] == f"others may write to {shared}, so it is not used: chmod 700 it"
    assert told[str(file)] == f"{file} is not a folder"
    assert told["kernels"].startswith("CONVSMITH_CACHE='kernels' is relative: ")
    assert all("\n" not in line for line in told.values())


def test_a_relative_cache_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convsmith.kernels.cache import Cache

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSMITH_CACHE", "kernels")
    root = machine.cache_folder()
    assert root == tmp_path / "kernels"
    with pytest.warns(RuntimeWarning, match="CONVSMITH_CACHE='kernels' is relative") as told:
        Cache(root).get("a", ".so", lambda path: path.write_bytes(b"x") and None)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Cache(root).get("b", ".so", lambda path: path.write_bytes(b"x") and None)


def test_private_is_mine_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not is_private(path)
    path.touch()
    for mode, private in ((0o600, True), (0o644, True), (0o664, False), (0o606, False)):
        path.chmod(mode)
        assert is_private(path) is private
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_compiler_by_variable_then_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TOOL", "tool -O2 '-D a'")
    assert find_compiler("TOOL", []) == (str(tool), "-O2", "-D a")
    monkeypatch.setenv("TOOL", "missing")
    assert find_compiler("TOOL", ["other", "tool"]) == (str(tool),)
    assert find_compiler("TOOL", ["other"]) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fma avx2\n\n"
            "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: another\n",
            "AMD EPYC (family 25, model 17)",
        ),
        ("processor : 0\nFeatures : asimd\nModel : Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("model name : of no family\nmodel : 3\n", "of no family"),
    ],
)
def test_processors_of_one_name_are_told_apart(
    text: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Virtual machines call several generations alike; kept times are of one."""
    machine._cpu.cache_clear()
    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: text)
    try:
        assert machine.cpu_name() == machine.cpu()["model"] == name
    finally:
        machine._cpu.cache_clear()
