"""What the machine does to long work: signals, full disks, strange homes, many threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ConvsmithError, DataError
from convsmith.kernels.cache import Cache
from convsmith.report.saving import save_bytes
from convsmith.rewrite import save
from convsmith.rewrite.lightening.tune.batches import Replayed
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from tests.hostile.disks import pages_free, small_disk
from tests.hostile.interrupted import KINDS, contents

ROOT = Path(__file__).parents[2]
# A nightly run asks for more moments, and others.
MOMENTS = int(os.environ.get("CONVSMITH_MOMENTS", "0"))
SEED = os.environ.get("CONVSMITH_MOMENTS_SEED", "0")
FEW = {"lighten": 4, "tile": 6, "picture": 4, "compile": 2}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_leaves_the_old_state_or_one_that_goes_on(tmp_path: Path, kind: str) -> None:
    words = [kind, str(MOMENTS or FEW[kind]), SEED, str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.hostile.interrupted", *words],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{kind}: {words[1]} moments" in done.stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("disks") / "disk", 512) as folder:
        yield folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a result is kept that its disk cannot take."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


IMAGE = np.random.default_rng(0).random((3, 40, 40), np.float32)


def tile(path: Path, **words: Any) -> None:
    torch.manual_seed(0)
    tiled = cs.tile(nn.Conv2d(3, 4, 3, padding=1), (1, 3, 8, 8), tile=16)
    tiled.run(IMAGE, str(path), resume=True, **words)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 16, 5))


def checkpoint(path: Path) -> None:
    run = Checkpoint(path, {"seed": 1})
    run.write("choices.json", {"layer": ["x"] * 1000})
    run.save("stage.pt", network().state_dict())
    assert run.load("stage.pt") is not None


def scene(path: Path) -> None:
    cs.draw.animate(cs.Conv(1, 1, 3, padding=1), (4, 4)).save(path, force=True)


def kernels(path: Path) -> None:
    """Where its disk is full, the cache warns, and keeps its files for this process alone."""
    kept = Cache(path).get("key", ".so", lambda file: file.write_bytes(bytes(20_000)))
    assert kept.read_bytes().startswith(bytes(20_000))


WRITES: dict[str, Callable[[Path], Any]] = {
    "out.zarr": tile,
    "out.npy": tile,
    "out.tif": tile,
    "out.png": lambda path: tile(path, reduce="argmax"),
    "model": lambda path: save(network(), path, [], force=True),
    "run": checkpoint,
    "page.html": lambda path: save_bytes(path, bytes(30_000), force=True),
    "scene.svg": scene,
    "cache": kernels,
}


@pytest.mark.filterwarnings("ignore:kernels are not kept")
@pytest.mark.parametrize("name", WRITES)
def test_a_disk_that_is_full_at_any_write(disk: Path, elsewhere: Path, name: str) -> None:
    """One page more each time, until there is room: each write in turn is the one that fails."""
    folder, clean = disk / "here", elsewhere / "clean"
    clean.mkdir()
    WRITES[name](clean / name)
    expected = contents(clean / name)
    failed = 0
    for pages in range(128):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            with pages_free(disk, pages):
                WRITES[name](folder / name)
            succeeded = True
        except ConvsmithError as error:
            message, succeeded = str(error), False
            assert "\n" not in message and any(
                word in message for word in ("No space left", "no room", "are free")
            ), message
            failed += 1
        if not succeeded:
            WRITES[name](folder / name)  # there is room now: it goes on from what was left
        if name != "cache":
            assert contents(folder / name) == expected
        drafts = [p for p in folder.rglob("*") if p.name.endswith(".part") or "writing-" in p.name]
        assert not drafts
        for kept in elsewhere.glob("convsmith-kept-*"):
            shutil.rmtree(kept)
        if succeeded and pages > 0 and name != "cache":
            break
    else:
        assert name == "cache"
    assert failed or name == "cache"


def test_blocks_are_reserved_before_the_work(disk: Path, elsewhere: Path) -> None:
    """A mapped file with holes on a disk that fills up meanwhile would end the process."""
    target, filled = disk / "out.npy", []

    def fill(what: str, done: int, of: int) -> None:
        if not filled:
            held = pages_free(disk, 3)
            held.__enter__()
            filled.append(held)

    try:
        tile(target, progress=fill)
    finally:
        filled[0].__exit__(None, None, None)
    tile(elsewhere / "out.npy")
    assert contents(target) == contents(elsewhere / "out.npy")


def test_batches_that_come_once_on_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    batches = Replayed(iter([torch.zeros(100, 1000)] * 2))
    with pytest.raises(DataError, match="No space left on device; set TMPDIR"), pages_free(disk, 9):
        list(batches)


SCRIPT = """
import os, sys
import numpy as np
import torch
from torch import nn
import convsmith as cs
from convsmith.cli.main import main

torch.set_num_threads(1)
with open("my.py", "w") as file:
    file.write("from torch import nn\\ndef build():\\n    return nn.Conv2d(3, 2, 3, padding=1)\\n")
np.save("in.npy", np.ones((3, 20, 20), np.float32))
for words in (
    ["doctor"], ["inspect", "my.py:build", "--input", "1,3,16,16", "--json=a.json"],
    ["draw", "conv", "-o", "a.svg"], ["tile", "my.py:build", "in.npy", "out.npy"],
):
    status = main(words)
    print(words[0], status)
    assert status == 0, words
model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
image = torch.rand(1, 3, 20, 20)
assert torch.allclose(cs.compile(model, image)(image), model(image), atol=1e-5)
print("all", "done")
"""
CASES = {
    "no home": {"HOME": None},
    "a home that may not be written": {"HOME": "{}"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_strange_home_and_an_unknown_user(tmp_path: Path, case: str) -> None:
    """As root with a user id that has no name, and that may read everything but write little."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir(mode=0o555)
    work.mkdir(mode=0o777)
    os.chmod(work, 0o777)
    words = [sys.executable, "-c", SCRIPT]
    if os.getuid() == 0 and shutil.which("setpriv"):
        may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *may_read, *words]
    elif case == "no home":
        pytest.skip("only root can become a user that has no name")
    dropped = ("HOME", "CONVSMITH_CACHE", "XDG_CACHE_HOME", "USER", "LOGNAME")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    env |= {k: v.format(home) for k, v in CASES[case].items() if v is not None}
    env |= {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "all done" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(home.iterdir())


def test_sixteen_threads_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Each gets what one alone gets; what they share stays as it was."""
    shared = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    image = torch.rand(1, 3, 16, 16)
    before = {key: value.clone() for key, value in shared.state_dict().items()}
    stdout, expected = sys.stdout, shared(image)
    fast = cs.compile(shared, image)

    def work(number: int) -> bool:
        own = nn.Sequential(nn.Conv2d(3, 2 + number, 3), nn.Conv2d(2 + number, 1, 1))
        assert cs.inspect(own, (1, 3, 16, 16)).params == sum(p.numel() for p in own.parameters())
        assert cs.inspect(shared, (1, 3, 16, 16)).params == 4 * 28 + 8
        size = 16 + number % 3
        other = torch.rand(1, 3, size, size)
        return torch.allclose(fast(image), expected, atol=1e-5) and torch.allclose(
            fast(other), shared(other), atol=1e-5
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))
    assert sys.stdout is stdout and not shared.training
    assert all(torch.equal(value, before[key]) for key, value in shared.state_dict().items())
