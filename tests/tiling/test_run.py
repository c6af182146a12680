"""Runs: every unit once, by one writer; stopped, resumed, cut in parts, masked."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import DataError
from convsmith.tiling.geometry import Geometry
from convsmith.tiling.manifest import Manifest
from tests.tiling.nets import UNet, shaken, whole

zarr = pytest.importorskip("zarr")


class Positive(nn.Module):
    """Its output is never 0, so that a part that was never written shows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x).sigmoid() + 1


@pytest.fixture(scope="module")
def model():
    return shaken(UNet())


@pytest.fixture
def source(tmp_path):
    image = np.random.default_rng(1).random((3, 61, 83), dtype=np.float32)
    np.save(tmp_path / "in.npy", image)
    return str(tmp_path / "in.npy")


def lines(path):
    files = Path(f"{path}.tiling").glob("done-*")
    texts = [line for file in files for line in file.read_text().splitlines()]
    return [json.loads(line) for line in texts if line]


@pytest.mark.parametrize("tile", [8, 12, 40])
def test_a_shard_is_written_whole_and_by_one(tile, tmp_path, monkeypatch):
    """Two writers in one shard lose data without an error, so a unit is a whole shard."""
    target = zarr.create_array(
        str(tmp_path / "t.zarr"),
        shape=(2, 40, 40),
        dtype="float32",
        chunks=(2, 8, 8),
        shards=(2, 16, 16),
    )
    written = []
    from convsmith.tiling.stores.target import Target

    write = Target.write
    monkeypatch.setattr(
        Target, "write", lambda self, spans, part: (written.append(spans), write(self, spans, part))
    )
    model = nn.Conv2d(1, 2, 3, padding=1)
    image = np.random.default_rng(0).random((1, 40, 40), dtype=np.float32)
    tiled = cs.tile(model, (1, 1, 8, 8), tile=tile)
    outcome = tiled.run(image, target, workers=2)
    assert abs(target[...] - whole(model, torch.from_numpy(image))).max() < 1e-6
    shards = [
        (y // 16, x // 16)
        for _, (a, b), (c, d) in written
        for y in range(a, b, 16)
        for x in range(c, d, 16)
    ]
    assert len(shards) == len(set(shards)) == 9
    assert all(a % 16 == c % 16 == 0 for _, (a, _), (c, _) in written)
    assert any("whole shard" in n or "one writer" in n for n in outcome.plan.notes) == (tile != 16)


def test_dask_arrays_and_wrong_targets_are_refused(model):
    tiled = cs.tile(model, (1, 3, 8, 8))
    image = np.zeros((3, 40, 40), np.float32)
    dask = pytest.importorskip("dask.array")
    with pytest.raises(cs.ConvsmithError, match="dask array cannot be written in whole shards"):
        tiled.run(image, dask.zeros((4, 40, 40), dtype="float32", chunks=8))
    with pytest.raises(cs.ConvsmithError, match=r"target has shape \(4, 9, 9\), the result"):
        tiled.run(image, np.zeros((4, 9, 9), np.float32))
    with pytest.raises(cs.ConvsmithError, match="target holds int64, the result is float32"):
        tiled.run(image, np.zeros((4, 40, 40), np.int64))
    with pytest.raises(cs.ConvsmithError, match="expected a name that ends in"):
        tiled.run(image, "out.jpeg2000")
    with pytest.raises(cs.ConvsmithError, match="no folder"):
        tiled.run(image, "/nowhere/at/all.zarr")


def test_done_is_said_when_every_unit_was_found_once(tmp_path):
    path = str(tmp_path / "out.zarr")
    image = np.random.default_rng(0).random((1, 70, 50), dtype=np.float32)
    outcome = cs.tile(Positive(), (1, 1, 8, 8), tile=16).run(image, path)
    assert outcome.complete and (zarr.open_array(path)[...] > 0).all()
    units = [tuple(line["unit"]) for line in lines(path)]
    assert len(units) == len(set(units)) == outcome.units == 5 * 4


def test_a_unit_that_was_dropped_is_noticed(tmp_path, monkeypatch):
    units = Geometry.units
    monkeypatch.setattr("convsmith.tiling.run.share", lambda request, part: list(
        units(request.geometry))[:-1])  # fmt: skip
    image = np.zeros((1, 70, 50), np.float32)
    with pytest.raises(DataError, match="1 units were never computed"):
        cs.tile(Positive(), (1, 1, 8, 8), tile=16).run(image, str(tmp_path / "out.zarr"))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_disc_across_tiles_is_one_disc(dims):
    """Tiles that are cut hard leave a cross on what lies on their corner."""
    y, x = np.mgrid[:48, :48] - 16
    disc = (np.hypot(y, x) < 9).astype(np.float32)
    conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 1, 9, padding=4, bias=False)
    conv.weight.data.fill_(1 / conv.weight.numel())
    image = disc[None] if dims == 2 else disc[None, None]
    found = cs.tile(conv, (1, 1, *[8] * dims), tile=16).run(image, reduce="threshold:0.03").array
    assert (found == (whole(conv, torch.from_numpy(image))[0] > 0.03)).all()


def test_a_target_that_exists(tmp_path, model, source):
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    path = str(tmp_path / "out.zarr")
    tiled.run(source, path)
    before = zarr.open_array(path)[...]
    with pytest.raises(cs.ConvsmithError, match=r"exists: pass resume .* or force"):
        tiled.run(source, path)
    assert tiled.run(source, path, resume=True).computed == 0
    assert tiled.run(source, path, force=True).computed == 24
    assert (zarr.open_array(path)[...] == before).all()
    os.rename(f"{path}.tiling", tmp_path / "gone")
    with pytest.raises(cs.ConvsmithError, match="no run was begun there"):
        tiled.run(source, path, resume=True)
    assert tiled.run(source, str(tmp_path / "new.zarr"), resume=True).computed == 24


def forget(path, count):
    """Take lines out of a manifest, as if a kill had come before they were written."""
    files = list(Path(f"{path}.tiling").glob("done-*"))
    kept = [line for file in files for line in file.read_text().splitlines() if line][count:]
    for file in files[1:]:
        file.unlink()
    files[0].write_text("\n".join(kept) + '\n{"unit": [0, 1')


def test_nothing_else_is_replaced(tmp_path, model, source):
    """Force replaces a target: not the image, a folder that holds it, or any other folder."""
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
    group = zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    group.create_array("0", shape=(3, 61, 83), dtype="float32")[...] = np.load(source)
    other = tmp_path / "my.zarr.notes"
    other.mkdir()
    (other / "note").write_text("keep")
    for read, path in ((source, source), (f"{group.store.root}/0", str(group.store.root)),
                       (np.load(source, mmap_mode="r"), source)):  # fmt: skip
        with pytest.raises(cs.ConvsmithError, match="holds the image that is read"):
            tiled.run(read, path, force=True)
    for path in (other, group.store.root):
        with pytest.raises(cs.ConvsmithError, match="a folder that is not a Zarr array"):
            tiled.run(source, str(path), force=True)
    assert (other / "note").read_text() == "keep"
    assert tiled.run(f"{group.store.root}/0").array.shape == (4, 61, 83)
    path = str(tmp_path / "out.zarr")
    tiled.run(source, path, part=(0, 2))
    with pytest.raises(cs.ConvsmithError, match="force would remove what other parts"):
        tiled.run(source, path, part=(1, 2), force=True)
    assert tiled.run(source, path, part=(1, 2)).complete


def test_what_a_stopped_writer_left_is_no_part_of_a_result(tmp_path, model, source):
    """Zarr writes each file beside its place, and renames it."""
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
    expected = files(tmp_path / tiled.run(source, str(tmp_path / "one.zarr")).target)
    target = tmp_path / "two.zarr"
    tiled.run(source, str(target), part=(0, 2))
    (target / "c" / f"0.{'0f' * 16}.partial").write_bytes(b"half")
    (target / "my.partial").write_bytes(b"mine")
    tiled.run(source, str(target), part=(1, 2))
    assert files(target) == expected | {"my.partial": b"mine"}
    begun = tmp_path / "three.zarr"
    begun.mkdir()
    (begun / f"zarr.{'0f' * 16}.partial").write_bytes(b"half")
    tiled.run(source, str(begun), force=True)
    assert files(begun) == expected


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_pictures_are_refused_before_anything_is_computed(tmp_path, model, source):
    seen = []
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
    for options in ({}, {"reduce": "probability"}):
        path = str(tmp_path / "out.png")
        if options:
            model = shaken(UNet(classes=5))
            tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
        with pytest.raises(cs.ConvsmithError, match=r"holds uint8|holds 1, 3 or 4 channels"):
            tiled.run(source, path, progress=lambda *step: seen.append(step), **options)
    assert not seen


def test_every_value_and_file_counts_as_input(tmp_path, model, source):
    """A resumed run is refused when any value of the input is another one."""
    tiled = cs.tile(model, (1, 3, 8, 8), tile=32)
    image = np.load(source)
    store = zarr.create_array(str(tmp_path / "in.zarr"), shape=image.shape, dtype="float32",
                              chunks=(1, 32, 32))  # fmt: skip
    store[...] = image
    changed = image.copy()
    changed[1, 30, 41] += 1

    def change():
        store[1, 30, 41] += 1

    for number, (read, again, between) in enumerate((
        (image, changed, lambda: None), (store, store, change),
        (str(tmp_path / "in.zarr"), str(tmp_path / "in.zarr"), change),
    )):  # fmt: skip
        path = str(tmp_path / f"{number}.zarr")
        tiled.run(read, path)
        assert tiled.run(read, path, resume=True).computed == 0
        more = cs.tile(model, (1, 3, 8, 8), tile=32, memory="3GB")
        assert more.run(read, path, resume=True).computed == 0
        between()
        with pytest.raises(cs.ConvsmithError, match="cannot resume: input changed"):
            tiled.run(again, path, resume=True)


def test_only_what_is_missing_is_computed_again(tmp_path, model, source):
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    path = str(tmp_path / "out.zarr")
    tiled.run(source, path)
    before = zarr.open_array(path)[...]
    forget(path, 5)
    outcome = tiled.run(source, path, resume=True)
    assert (outcome.computed, outcome.resumed) == (5, 19) and outcome.complete
    assert (zarr.open_array(path)[...] == before).all()


@pytest.mark.slow
def test_what_differs_is_named(tmp_path, model, source):
    path = str(tmp_path / "out.zarr")
    cs.tile(model, (1, 3, 8, 8), tile=16).run(source, path)
    forget(path, 3)
    cases = {
        "settings": lambda: cs.tile(model, (1, 3, 8, 8), tile=8).run(source, path, resume=True),
        "settings, target": lambda: cs.tile(model, (1, 3, 8, 8), tile=16).run(
            source, path, resume=True, reduce="argmax"),
        "mask": lambda: cs.tile(model, (1, 3, 8, 8), tile=16).run(
            source, path, resume=True, where=np.ones((4, 4))),
        "network": lambda: cs.tile(nn.Sequential(model, nn.ReLU()), (1, 3, 8, 8), tile=16).run(
            source, path, resume=True),
    }  # fmt: skip
    for name, run in cases.items():
        with pytest.raises(cs.ConvsmithError, match=f"cannot resume: .*{name}.* changed"):
            run()
    with pytest.raises(
        cs.ConvsmithError, match=r"\(tile \[16, 16\], now \[8, 8\]; unit \[16, 16\]"
    ):
        cases["settings"]()
    other = shaken(UNet())
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.head.weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(cs.ConvsmithError, match="cannot resume: weights changed"):
        cs.tile(other, (1, 3, 8, 8), tile=16).run(source, path, resume=True)
    np.save(source, np.load(source) + 1)
    with pytest.raises(cs.ConvsmithError, match="cannot resume: input changed"):
        cs.tile(model, (1, 3, 8, 8), tile=16).run(source, path, resume=True)


SCRIPT = """
import sys, torch
torch.manual_seed(0)
import convsmith as cs
from tests.tiling.nets import UNet, shaken
tiled = cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=8)
tiled.run(sys.argv[1], sys.argv[2], resume=True, workers=2)
"""


@pytest.mark.slow
def test_a_kill_loses_only_what_was_in_flight(tmp_path, source):
    torch.manual_seed(0)
    path, clean = str(tmp_path / "out.zarr"), str(tmp_path / "clean.zarr")
    cs.tile(shaken(UNet()), (1, 3, 8, 8), tile=8).run(source, clean)
    root = Path(__file__).parents[2]
    kills = 0
    for after in (2, 30, 5, 11, 17, None):
        before = len(lines(path)) if Path(f"{path}.tiling").exists() else 0
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, source, path], cwd=root)
        end = time.monotonic() + 120
        while after is not None and process.poll() is None and time.monotonic() < end:
            files = list(Path(f"{path}.tiling").glob("done-*"))
            if sum(file.read_text().count("}") for file in files) >= before + after:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        code = process.wait(120)
        if code == 0:
            break
    assert code == 0 and kills >= 2
    written, expected = zarr.open_array(path)[...], zarr.open_array(clean)[...]
    assert abs(written - expected).max() < 1e-5
    assert len(Manifest(Path(f"{path}.tiling")).done()) == 8 * 11


def test_parts_of_a_job_array(tmp_path, model, source):
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    path = str(tmp_path / "out.zarr")
    outcomes = [tiled.run(source, path, part=(i, 3)) for i in (2, 0)]
    assert not any(o.complete for o in outcomes)
    with pytest.raises(cs.ConvsmithError, match=r"part 2 of .* has begun: pass resume"):
        tiled.run(source, path, part=(2, 3))
    assert tiled.run(source, path, part=(2, 3), resume=True).computed == 0
    last = tiled.run(source, path, part=(1, 3))
    assert last.complete and last.computed == 8
    assert (
        abs(zarr.open_array(path)[...] - whole(model, torch.from_numpy(np.load(source)))).max()
        < 1e-5
    )
    for bad in ((3, 3), (-1, 2), (0,)):
        with pytest.raises(cs.ConvsmithError, match="part must be"):
            tiled.run(source, path, part=bad)
    with pytest.raises(cs.ConvsmithError, match="cannot resume: settings"):
        cs.tile(model, (1, 3, 8, 8), tile=8).run(source, path, part=(0, 3))


@pytest.mark.slow
def test_parts_may_start_at_once(tmp_path, source):
    script = SCRIPT.replace("resume=True, workers=2", "part=(int(sys.argv[3]), 3)")
    path = str(tmp_path / "out.zarr")
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen([sys.executable, "-c", script, source, path, str(i)], cwd=root)
        for i in range(3)
    ]
    assert [process.wait(180) for process in running] == [0, 0, 0]
    assert len(Manifest(Path(f"{path}.tiling")).done()) == 8 * 11
    assert (zarr.open_array(path)[...] != 0).any((1, 2)).all()


def test_a_mask_says_what_is_read_and_written(tmp_path):
    model, size = Positive(), 160
    mask = np.zeros((16, 16), bool)
    mask[3, 4], mask[12, 2:4] = True, True
    image = np.random.default_rng(0).random((1, size, size), dtype=np.float32)
    path = str(tmp_path / "out.zarr")
    outcome = cs.tile(model, (1, 1, 8, 8), tile=20).run(image, path, where=mask, fill=0)
    inside = np.kron(mask, np.ones((10, 10), bool))
    written = zarr.open_array(path)[0]
    assert (written[~inside] == 0).all()
    expected = whole(model, torch.from_numpy(image))[0]
    assert abs(written - expected)[inside].max() < 1e-6
    assert outcome.masked == 64 - 2 and outcome.complete
    shards = [p for p in Path(path).rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert len(shards) == 2
    with pytest.raises(cs.ConvsmithError, match="the mask has shape"):
        cs.tile(model, (1, 1, 8, 8)).run(image, where=np.ones(3))


def test_time_follows_the_mask():
    computed = []

    class Counting(nn.Module):
        def forward(self, x):
            return x * 2

    mask = np.zeros((100, 100), bool)
    mask[40:50, 40:50] = True
    from convsmith.tiling.exact import Exact

    call = Exact.__call__

    def counting(self, source, image, spans, known):
        computed.append((spans[0][1] - spans[0][0]) * (spans[1][1] - spans[1][0]))
        return call(self, source, image, spans, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exact, "__call__", counting)
        image = np.ones((1, 1000, 1000), np.float32)
        cs.tile(Counting(), (1, 1, 8, 8), tile=64).run(image, where=mask)
    assert sum(computed) == 100 * 100


def test_a_full_disk(tmp_path, model, source, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    tiled = cs.tile(model, (1, 3, 8, 8), tile=16)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: usage(10, 10, 1000))
        with pytest.raises(DataError, match=r"may take .* GB, but only .* GB are free"):
            tiled.run(source, str(tmp_path / "a.npy"))
        assert not (tmp_path / "a.npy.tiling").exists()
    from convsmith.tiling.stores.target import Target

    class Full:
        def __setitem__(self, index, value):
            raise OSError(28, "No space left on device")

        def __init__(self):
            self.left = 3

    write = Target.write

    def full(self, spans, part):
        self.left = getattr(self, "left", 3) - 1
        if self.left < 0:
            self.array = Full()
        write(self, spans, part)

    path = str(tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(Target, "write", full)
        with pytest.raises(DataError, match=r"no room left for .*run the same again with resume"):
            tiled.run(source, path)
    assert tiled.run(source, path, resume=True).resumed == 3


def test_progress_counts_every_unit(model):
    seen = []
    cs.tile(model, (1, 3, 8, 8), tile=16).run(
        np.zeros((3, 40, 40), np.float32), progress=lambda *step: seen.append(step)
    )
    assert seen == [("tiles", n, 9) for n in range(10)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    """Peak of the process, measured in one of its own: alike for images of 4 and 36 megapixels."""
    script = """
import resource, sys, numpy as np, torch
from torch import nn
import convsmith as cs
torch.set_num_threads(1)
n, path = int(sys.argv[1]), sys.argv[2]
image = np.lib.format.open_memmap(path + ".npy", "w+", np.uint8, (n, n, 3))
image[::7] = 9
image.flush()
del image
net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 21, 3, padding=1),
                    nn.Upsample(scale_factor=2, mode="bilinear"))
cs.tile(net, (1, 3, 8, 8), memory="80MB").run(path + ".npy", path + ".zarr", reduce="argmax")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    peaks = [
        int(subprocess.run([sys.executable, "-c", script, str(n), str(tmp_path / str(n))],
                           capture_output=True, text=True, check=True).stdout)
        for n in (2000, 6000)
    ]  # fmt: skip
    # Pages of a memory map count as resident while the system has room for them.
    assert peaks[1] < 1.1 * peaks[0] + 6000**2 * 3 / 2**20, peaks
