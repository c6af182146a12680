"""Kills: SIGKILL at random moments, of the process or of a worker; resumed, the bytes are the same.

`CONVSMITH_KILLS=100` runs as many. A process that has imported and traced everything forks one
child for each attempt, so that a kill costs a fraction of a second and may come at any moment.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

KILLS = int(os.environ.get("CONVSMITH_KILLS", "8"))
ROOT = Path(__file__).parents[2]

NURSERY = """
import os, sys
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
import convsmith as cs
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tests.tiling.nets import UNet, shaken

tiled = cs.tile(shaken(UNet(width=2)), (1, 3, 8, 8), tile=8)
tiled.plan(sys.argv[1])
for line in sys.stdin:
    target, engine = line.split()
    child = os.fork()
    if not child:
        os.setsid()
        try:
            options = {"workers": 2}
            if engine == "processes":
                options = {"executor": ProcessPoolExecutor(2, get_context("fork"))}
            reduce = "argmax" if target.endswith(".png") else None
            tiled.run(sys.argv[1], target, resume=True, reduce=reduce, **options)
        except cs.ConvsmithError as error:
            print("refused:", error, flush=True)
            os._exit(3)
        os._exit(0)
    print(child, flush=True)
    code = os.waitpid(child, 0)[1]
    print("ended", os.waitstatus_to_exitcode(code), flush=True)
"""


class Nursery:
    """The process that forks the runs."""

    def __init__(self, source):
        self.process = subprocess.Popen([sys.executable, "-c", NURSERY, source], cwd=ROOT,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)  # fmt: skip

    def run(self, target, engine, kill=None):
        """Run once; `kill` is called with the child's id. Gives the exit code and the reason."""
        self.process.stdin.write(f"{target} {engine}\n")
        self.process.stdin.flush()
        child, reason = int(self.process.stdout.readline()), ""
        if kill is not None:
            kill(child)
        while not (line := self.process.stdout.readline()).startswith("ended"):
            assert line, "the nursery has died"
            reason = line
        with suppress(ProcessLookupError):  # workers that outlive the run that started them
            os.killpg(child, signal.SIGKILL)
        return int(line.split()[1]), reason


def children(process):
    """The worker processes of a run."""
    try:
        return [
            int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except OSError:
        return []


def killer(moment, engine, rng):
    """Kills the run, or one of its workers, after a moment; says whether it was still running."""

    def kill(child):
        time.sleep(moment)
        victims = [child]
        if engine == "processes" and rng.random() < 0.5:
            victims = children(child) or [child]
        try:
            os.kill(rng.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            return

    return kill


def digest(path):
    """A hash of all bytes of a file, or of all files of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return total.hexdigest()


@pytest.mark.slow
def test_whatever_is_killed_the_bytes_are_the_same(tmp_path):
    image = np.random.default_rng(1).random((3, 41, 53), dtype=np.float32)
    np.save(tmp_path / "in.npy", image)
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    rng, nursery = random.Random(seed), Nursery(str(tmp_path / "in.npy"))
    clean, lasts = {}, {}
    for ending in ("zarr", "npy", "tif", "png"):
        path = tmp_path / f"clean.{ending}"
        begin = time.monotonic()
        assert nursery.run(path, "threads") == (0, "")
        clean[ending], lasts[ending] = digest(path), time.monotonic() - begin
    kills = attempts = 0
    while kills < KILLS:
        attempts += 1
        ending, engine = rng.choice(list(clean)), rng.choice(["threads", "processes"])
        path, code = tmp_path / f"{attempts}.{ending}", None
        for turn in range(20):
            # Longer and longer: a run that is always killed early gets nowhere.
            moment = rng.random() * lasts[ending] * 1.2**turn
            code, reason = nursery.run(path, engine, killer(moment, engine, rng))
            assert code in (0, 3, -signal.SIGKILL), (seed, attempts, code)
            # Workers outlive a killed process for a moment, and still hold its target.
            texts = "run the same again with resume", "another run is at work"
            assert code != 3 or any(text in reason for text in texts), (seed, reason)
            kills += code != 0
            if code == 0:
                break
        if code:
            assert nursery.run(path, "threads") == (0, ""), (seed, attempts)
        assert digest(path) == clean[ending], (seed, attempts, ending, engine)
    nursery.process.stdin.close()
    assert nursery.process.wait(60) == 0
    print(kills, "kills in", attempts, "targets")
