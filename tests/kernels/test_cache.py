"""The cache gives what was made for a key, or makes it again; never anything else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.kernels import cache as module
from convsmith.kernels.cache import Cache
from convsmith.machine import cache_folder

CONTENT = b"machine code" * 100


class Maker:
    """Writes the content and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, path: Path) -> None:
        self.times += 1
        path.write_bytes(CONTENT)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(module, "_PRIVATE", {})
    monkeypatch.setattr(module, "_WARNED", set())
    return Cache(tmp_path / "deep" / "kernels")


def test_made_once(cache: Cache) -> None:
    make = Maker()
    first = cache.get("key", ".so", make)
    assert cache.get("key", ".so", make) == first == cache.root / "key.so"
    assert Cache(cache.root).get("key", ".so", make) == first
    assert make.times == 1
    assert first.read_bytes().startswith(CONTENT)
    assert [path.name for path in cache.root.iterdir()] == ["key.so"]


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: b"",
        lambda c: c[:-1],
        lambda c: c[: len(c) // 2],
        lambda c: c + b"\n",
        lambda c: _flip(c, 0),
        lambda c: _flip(c, len(c) - 1),
        lambda c: _flip(c, len(CONTENT)),
        lambda c: c[len(CONTENT) :],
        lambda c: CONTENT,
        lambda c: bytes(len(c)),
    ],
)
def test_damage_is_noticed(cache: Cache, damage: object) -> None:
    make = Maker()
    path = cache.get("key", ".so", make)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))  # type: ignore[operator]
    assert cache.get("key", ".so", make).read_bytes() == sound
    assert make.times == 2


def test_file_others_may_write_is_not_used(cache: Cache) -> None:
    make = Maker()
    path = cache.get("key", ".so", make)
    for mode in (0o666, 0o620, 0o602):
        path.chmod(mode)
        before = make.times
        assert cache.get("key", ".so", make).stat().st_mode & 0o022 == 0
        assert make.times == before + 1


def test_folder_others_may_write_is_not_used(cache: Cache) -> None:
    make = Maker()
    cache.get("key", ".so", make)
    cache.root.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write"):
        path = cache.get("key", ".so", make)
    assert path.parent != cache.root
    assert make.times == 2


def test_folder_of_somebody_else_is_not_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker()
    cache.get("key", ".so", make)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.warns(RuntimeWarning, match="others may write"):
        path = cache.get("key", ".so", make)
    assert path.parent != cache.root


def _refuse(code: int) -> object:
    def replace(source: object, target: object) -> None:
        if Path(str(target)).parent.name == "kernels":
            raise OSError(code, os.strerror(code))
        os.rename(str(source), str(target))

    return replace


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_unwritable_folder_costs_one_warning(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "replace", _refuse(code))
    make = Maker()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        first = cache.get("first", ".so", make)
        second = cache.get("second", ".so", make)
        again = Cache(cache.root).get("first", ".so", make)
    assert [str(w.message) for w in seen] == [
        f"kernels are not kept in {cache.root}: {os.strerror(code)}; set CONVSMITH_CACHE"
    ]
    assert first == again != second
    assert make.times == 2, "a file that may be loaded is not made again"
    assert first.read_bytes().startswith(CONTENT)
    assert list(cache.root.iterdir()) == []


def test_file_in_the_place_of_the_folder(cache: Cache) -> None:
    cache.root.parent.mkdir()
    cache.root.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="kernels are not kept"):
        path = cache.get("key", ".so", Maker())
    assert path.read_bytes().startswith(CONTENT)
    assert cache.root.read_text() == "not a folder"


def test_no_room_at_all(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning), pytest.raises(ConvsmithError, match="set TMPDIR"):
        cache.get("key", ".so", Maker())


def test_failed_making_leaves_nothing(cache: Cache) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(CONTENT)
        raise ConvsmithError("no")

    with pytest.raises(ConvsmithError, match="no"):
        cache.get("key", ".so", fail)
    assert not cache.root.exists() or not list(cache.root.iterdir())
    make = Maker()
    cache.get("key", ".so", make)
    assert make.times == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from convsmith.kernels.cache import Cache
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def make(path):
    path.write_bytes(b"half of it")
    if sys.argv[2] == "making":
        die()
if sys.argv[2] == "keeping":
    os.replace = die
Cache(Path(sys.argv[1])).get("key", ".so", make)
"""


@pytest.mark.parametrize("when", ["making", "keeping"])
def test_killed_process_leaves_nothing_that_is_used(
    cache: Cache, when: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(cache.root), when], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    left = list(cache.root.iterdir()) if cache.root.exists() else []
    assert len(left) == (when == "keeping")
    for path in left:
        os.utime(path, (0, 0))
    make = Maker()
    assert cache.get("key", ".so", make).read_bytes().startswith(CONTENT)
    assert make.times == 1
    assert [path.name for path in cache.root.iterdir()] == ["key.so"], "old remains are removed"


def test_unfinished_file_of_a_running_process_stays(cache: Cache) -> None:
    cache.root.mkdir(parents=True, mode=0o700)
    other = cache.root / ".unfinished-abc.so"
    other.write_bytes(b"somebody writes here")
    cache.get("key", ".so", Maker())
    assert other.exists()


def test_folder_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("CONVSMITH_CACHE")
    assert cache_folder() == Path("/cache/convsmith/kernels")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/convsmith/kernels")
