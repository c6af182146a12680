"""Signals at random moments of long work: the old state is left, or one that can go on.

`python -m tests.hostile.interrupted KIND MOMENTS SEED FOLDER` prepares the work, does it once
undisturbed, and then forks a process per moment, which is sent SIGINT or SIGTERM there. What it
leaves is looked at, the same command is run again, and its result is compared with the first one.
Forks, because importing torch takes longer than the work.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch

from convsmith.cli.main import main as convsmith

MODEL = """import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    ).eval()

def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
"""
SECONDS = 300.0
"""What no step takes, even on a busy machine."""


def prepare(folder: Path) -> None:
    """The model's code and the images that all kinds of work read."""
    (folder / "my.py").write_text(MODEL)
    random = np.random.default_rng(0)
    data = folder / "data"
    data.mkdir()
    for name in ("train", "t10k"):
        pixels = random.integers(0, 255, (128, 12, 12), dtype=np.uint8)
        labels = random.integers(0, 2, 128, dtype=np.uint8)
        head = struct.pack(">HBB3I", 0, 8, 3, *pixels.shape)
        (data / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">HBBI", 0, 8, 1, len(labels))
        (data / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    np.save(folder / "image.npy", random.random((3, 96, 96), dtype=np.float32))


def lighten(shared: Path) -> int:
    return convsmith([
        "lighten", f"{shared}/my.py:build", "--data", f"{shared}/data", "-o", "out", "--multiplier",
        "1", "--no-compiled", "--epochs", "3", "--no-control", "--checkpoint", "run", "--force",
    ])  # fmt: skip


def tile(shared: Path) -> int:
    return convsmith([
        "tile", f"{shared}/my.py:dense", f"{shared}/image.npy", "out.zarr", "--tile", "16",
        "--resume",
    ])  # fmt: skip


def picture(shared: Path) -> int:
    return convsmith([
        "tile", f"{shared}/my.py:dense", f"{shared}/image.npy", "out.png", "--tile", "16",
        "--reduce", "argmax", "--resume",
    ])  # fmt: skip


def compiled(shared: Path) -> int:
    import convsmith as cs

    os.environ["CONVSMITH_CACHE"] = os.path.abspath("cache")
    names: dict[str, Callable[[], torch.nn.Module]] = {}
    exec((shared / "my.py").read_text(), names)
    try:
        fast = cs.compile(names["dense"](), (1, 3, 24, 24))
        np.save("out.npy", fast(torch.linspace(0, 1, 3 * 24 * 24).reshape(1, 3, 24, 24)).numpy())
    except KeyboardInterrupt:
        Path("out.npy").unlink(missing_ok=True)
        return 130
    return 0


KINDS: dict[str, tuple[Callable[[Path], int], str]] = {
    "lighten": (lighten, "out"),
    "tile": (tile, "out.zarr"),
    "picture": (picture, "out.png"),
    "compile": (compiled, "out.npy"),
}


def start(work: Callable[[Path], int], shared: Path, folder: Path) -> int:
    """Do the work in a process of its own, and return its id once it is about to begin."""
    ready, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        os.read(ready, 1)
        os.close(ready)
        return child
    status = 99
    try:
        for each in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
            signal.signal(each, signal.default_int_handler)
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(tell)
        status = work(shared)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before or after what handles it
        status = 130
    finally:
        os._exit(status)


def end(child: int) -> int:
    """The exit status of a process; one that hangs is killed, and said."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"it hangs: {SECONDS:.0f} s after the signal it has not ended")


def contents(path: Path) -> dict[str, bytes]:
    """The files of a result, without the times that were measured."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = {str(file.relative_to(path)): file.read_bytes() for file in files}
    if "recipe.json" in found:
        found["recipe.json"] = repr(json.loads(found["recipe.json"]) | {"report": {}}).encode()
    return found


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The files that one result has and the other has not, or with other bytes."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name) != other.get(name)]


def drafts(folder: Path) -> list[str]:
    """What should not be left behind."""
    patterns = ("*.part", ".writing-*", ".unfinished-*")
    return [str(path) for pattern in patterns for path in folder.rglob(pattern)]


def main(kind: str, moments: int, seed: int, place: Path) -> None:
    work, name = KINDS[kind]
    torch.set_num_threads(1)
    shared = place / "shared"
    shared.mkdir()
    prepare(shared)
    os.environ["CONVSMITH_CACHE"] = str(place / "cache")
    warm, clean = place / "warm", place / "clean"
    for folder in (warm, clean):
        folder.mkdir()
    os.chdir(warm)
    assert work(shared) == 0  # in this process, so that every fork has imported what it needs
    os.environ["CONVSMITH_CACHE"] = str(place / "cache")
    begin = time.monotonic()
    assert end(start(work, shared, clean)) == 0, (clean / "log").read_text()
    seconds = time.monotonic() - begin
    expected = contents(clean / name)
    random, counted = Random(seed), Counter[str]()
    for moment in range(moments):
        folder = place / str(moment)
        folder.mkdir()
        after = random.uniform(0, 1.05) * seconds
        which = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        said = f"{kind}, moment {moment} of seed {seed}: {which.name} after {after:.3f} s"
        child = start(work, shared, folder)
        time.sleep(after)
        os.kill(child, which)
        status = end(child)
        log = (folder / "log").read_text()
        assert status in (0, 130), (said, status, log)
        assert "Traceback" not in log and "a bug in convsmith" not in log, (said, log)
        assert not drafts(folder), (said, drafts(folder))
        there = contents(folder / name) if (folder / name).exists() else {}
        if status == 0 or kind in ("lighten", "picture", "compile"):
            assert there in ({}, expected), said  # whole, or not there
        assert end(start(work, shared, folder)) == 0, (said, (folder / "log").read_text())
        differ = differing(contents(folder / name), expected)
        assert not differ, (said, differ)
        assert not drafts(folder), (said, drafts(folder))
        counted["finished first" if status == 0 else which.name] += 1
    print(f"{kind}: {moments} moments within {seconds:.2f} s: {dict(counted)}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
