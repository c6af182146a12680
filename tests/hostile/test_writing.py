"""Files that are written: whole or not at all, never through a link, kept where a disk is full."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.report import saving
from convsmith.report.saving import check_folder, drafted, save_bytes, save_folder, save_text
from convsmith.rewrite import save
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from tests.hostile.disks import small_disk


def writers(folder: Path) -> dict[str, Any]:
    """Everything of the product that writes a file that the user named, by the file's name."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    scene = cs.draw.animate(cs.Conv(1, 1, 1), (2, 2))
    checkpoint = Checkpoint(folder / "run", {})
    return {
        "bytes": lambda: save_bytes(folder / "bytes", b"new", force=True),
        "page.html": lambda: save_text(folder / "page.html", "new", force=True),
        "scene.svg": lambda: scene.save(folder / "scene.svg", force=True),
        "model.safetensors": lambda: save(model, folder, [], force=True),
        "recipe.json": lambda: save(model, folder, [], force=True),
        "run/stage.pt": lambda: checkpoint.save("stage.pt", {}),
        "run/choices.json": lambda: checkpoint.write("choices.json", {}),
    }


NAMES = ["bytes", "page.html", "scene.svg", "model.safetensors", "recipe.json", "run/stage.pt",
         "run/choices.json"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_link_is_not_followed(tmp_path: Path, name: str) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "out"
    folder.mkdir()
    precious.write_bytes(b"precious")
    write = writers(folder)[name]
    target = folder / name
    target.unlink(missing_ok=True)
    target.symlink_to(precious)
    # The drafts that could be foreseen, as they once were called.
    target.with_name(f".{target.name}.{os.getpid()}.part").symlink_to(precious)
    write()
    assert precious.read_bytes() == b"precious"
    assert target.is_file() and not target.is_symlink()
    assert target.read_bytes() != b"precious"


@pytest.mark.parametrize("name", NAMES)
def test_drafts_have_names_that_cannot_be_foreseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened: list[tuple[str, int]] = []
    real = os.open

    def spy(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            opened.append((os.fspath(path), flags))
        return real(path, flags, *rest, **more)

    write = writers(tmp_path)[name]
    monkeypatch.setattr(os, "open", spy)
    write()
    write()
    assert len(opened) >= 2 and len({path for path, _ in opened}) == len(opened)
    assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for _, flags in opened)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_is_full_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str
) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    write = writers(folder)[name]
    write()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    real = {"fsync": os.fsync, "rename": os.rename, "replace": os.replace}

    def full(path: Any) -> None:
        if str(folder) in os.fspath(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fsync(handle: int) -> None:
        full(os.readlink(f"/proc/self/fd/{handle}"))
        real["fsync"](handle)

    def replace(source: Any, target: Any) -> None:
        full(target)
        real["replace"](source, target)

    monkeypatch.setattr(os, "fsync" if step == "fsync" else "replace", locals()[
        "fsync" if step == "fsync" else "replace"])  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    with pytest.raises(ArgumentError, match=r"No space left on device") as caught:
        write()
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    if "checkpoint" not in str(caught.value):
        kept = next(elsewhere.glob("convsmith-kept-*"))
        assert str(kept) in str(caught.value)
        assert {path.name for path in kept.iterdir()} & {Path(name).name}


def test_many_threads_that_save_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(16)]
    target = tmp_path / "file"
    save_bytes(target, contents[0])

    def write(content: bytes) -> None:
        for _ in range(15):
            save_bytes(target, content, force=True)
            assert target.read_bytes() in contents

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, contents))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_many_threads_that_save_one_model_leave_a_whole_one(tmp_path: Path) -> None:
    def write(number: int) -> None:
        model = nn.Sequential(nn.Conv2d(1, 1, 1))
        nn.init.constant_(model[0].weight, number)
        for _ in range(5):
            save(model, tmp_path / "model", [], force=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    loaded = cs.load(tmp_path / "model", nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert isinstance(loaded[0].weight.item(), float)  # type: ignore[index]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "model.safetensors", "recipe.json",
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["", "\0", "a\0b"])
def test_what_is_no_name_is_refused(target: str) -> None:
    for write in (save_bytes, save_text):
        with pytest.raises(ArgumentError, match="it is not a file's name"):
            write(target, b"" if write is save_bytes else "")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="it is not a file's name"):
        check_folder(target)


def test_names_that_a_file_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="File name too long"):
        save_bytes(tmp_path / ("x" * 1000), b"")
    assert save_bytes(tmp_path / ("x" * 250), b"").exists()
    assert save_bytes(tmp_path / "卷积\udc80", b"").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="it is a file, not a folder"):
        check_folder(tmp_path / "file")


def test_room_is_looked_at_before_long_work(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deep", 1000)
    with pytest.raises(ArgumentError, match=r"it needs [\d,]+ bytes, [\d,]+ are free"):
        check_folder(tmp_path / "new", 1 << 60)
    assert not (tmp_path / "new").exists()


def test_a_draft_that_fails_is_removed(tmp_path: Path) -> None:
    def interrupted() -> None:
        with drafted(tmp_path / "x") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 256) as folder:
        yield folder


def test_a_real_disk_that_is_full(disk: Path) -> None:
    old = save_bytes(disk / "file", b"old")
    with pytest.raises(ArgumentError, match="No space left on device; the result is kept in"):
        save_bytes(old, bytes(1 << 20), force=True)
    assert old.read_bytes() == b"old"
    model = nn.Sequential(nn.Conv2d(64, 64, 9))
    with pytest.raises(ArgumentError, match=r"kept in '(.*)'") as caught:
        save(model, disk / "model", [])
    kept = Path(str(caught.value).rpartition("kept in '")[2].rstrip("'"))
    loaded = cs.load(kept, nn.Sequential(nn.Conv2d(64, 64, 9)))
    assert torch.equal(loaded[0].weight, model[0].weight)  # type: ignore[index]
    shutil.rmtree(kept)


def test_where_nothing_can_be_kept_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: IO[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os.path, "expanduser", lambda path: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="no other place could take the result either"):
        save_folder(tmp_path / "model", {"x": full})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
