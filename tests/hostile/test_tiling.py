"""Tiling: planted links, forged manifests, two runs at once, and sources that are traps."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError, ConvsmithError, DataError
from convsmith.tiling.manifest import Manifest, Record
from convsmith.tiling.stores.opening import open_mask, open_source
from tests.hostile.mutation import as_json, ends_well, fuzzed, mutant, mutant_json

zarr = pytest.importorskip("zarr")
IMAGE = np.random.default_rng(0).random((3, 24, 24), np.float32)
ENDINGS = ["npy", "tif", "zarr", "png", "jpg"]


@pytest.fixture(scope="module")
def tiled() -> Any:
    torch.manual_seed(0)
    return cs.tile(nn.Conv2d(3, 2, 3, padding=1), (1, 3, 8, 8), tile=8)


def options(path: Path) -> dict[str, Any]:
    return {"reduce": "argmax"} if path.suffix in (".png", ".jpg") else {}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("leads", ["to a file", "nowhere", "to a folder"])
@pytest.mark.parametrize("planted", ["{}", "{}.pixels.npy", "{}.tiling"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_planted_link_is_not_followed(
    tmp_path: Path, tiled: Any, ending: str, planted: str, leads: str, force: bool
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"precious")
    target = tmp_path / f"out.{ending}"
    link = tmp_path / planted.format(target.name)
    link.symlink_to(precious / {"to a file": "file", "nowhere": "new", "to a folder": ""}[leads])
    refused = ""
    try:
        tiled.run(IMAGE, str(target), force=force, **options(target))
    except ArgumentError as error:
        refused = str(error)
    if refused:
        assert ("is a link" if force else "exists: pass resume") in refused or "{}.ti" in planted
        assert link.is_symlink()
    else:
        assert not target.is_symlink()
    unused = planted == "{}.pixels.npy" and not options(target)
    assert bool(refused) == (planted == "{}.tiling" or not (force or unused))
    assert [path.name for path in precious.iterdir()] == ["file"]
    assert (precious / "file").read_bytes() == b"precious"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_second_run_on_one_target_is_refused(tmp_path: Path, tiled: Any, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    words = options(target)
    refused = []

    def again(what: str, done: int, of: int) -> None:
        for more in ({"resume": True}, {"force": True}):
            with pytest.raises(ArgumentError, match=r"another run is at work on .*tiling"):
                tiled.run(IMAGE, str(target), **more, **words)
            refused.append(more)

    assert tiled.run(IMAGE, str(target), progress=again, **words).complete
    assert len(refused) >= 4
    assert tiled.run(IMAGE, str(target), resume=True, **words).computed == 0


def test_a_second_run_of_one_part_is_refused(tmp_path: Path, tiled: Any) -> None:
    target = str(tmp_path / "out.zarr")
    others = []

    def again(what: str, done: int, of: int) -> None:
        if done == 1:
            with pytest.raises(ArgumentError, match="another run is at work"):
                tiled.run(IMAGE, target, part=(0, 2), resume=True)
            with pytest.raises(ArgumentError, match="another run is at work"):
                tiled.run(IMAGE, target, resume=True)
            others.append(tiled.run(IMAGE, target, part=(1, 2)))

    assert tiled.run(IMAGE, target, part=(0, 2), progress=again).complete and len(others) == 1


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", ["create", "made", "finish"])
def test_what_is_stopped_between_two_steps_can_go_on(
    tmp_path: Path, tiled: Any, monkeypatch: pytest.MonkeyPatch, ending: str, moment: str
) -> None:
    target, clean = tmp_path / f"out.{ending}", tmp_path / f"clean.{ending}"
    words = options(target)
    tiled.run(IMAGE, str(clean), **words)
    from convsmith.tiling import begin, run

    place = run if moment == "finish" else begin
    real = getattr(place, "finish" if moment == "finish" else "create")

    def stopped(*given: Any) -> Any:
        if moment != "create":
            real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, real.__name__, stopped)
        with pytest.raises(KeyboardInterrupt):
            tiled.run(IMAGE, str(target), **words)
    assert tiled.run(IMAGE, str(target), resume=True, **words).complete
    assert contents(target) == contents(clean)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiled: Any) -> Path:
    target = tmp_path_factory.mktemp("begun") / "out.npy"
    tiled.run(IMAGE, str(target))
    return target


@fuzzed(60, 2000)
def test_manifests(begun: Path, tiled: Any, seed: int) -> None:
    random = Random(seed)
    folder = begun.with_name("out.npy.tiling")
    saved = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    path = random.choice([p for p, content in saved.items() if content])
    lines = saved[path].splitlines()
    if path.name == "run.json":
        lines = [as_json(mutant_json(json.loads(saved[path]), random))]
    elif random.random() < 0.8:
        chosen = random.randrange(len(lines))
        lines[chosen] = as_json(mutant_json(json.loads(lines[chosen]), random))
    content = b"\n".join(lines)
    path.write_bytes(content if random.random() < 0.7 else mutant(content, random))
    try:
        manifest = Manifest(folder)
        with ends_well():
            manifest.check(json.loads(saved[folder / "run.json"]))
        with ends_well():
            manifest.confirm(list(manifest.done()))
        if seed % 100 == 0:
            with ends_well():
                tiled.run(IMAGE, str(begun), resume=True)
    finally:
        for new in set(folder.iterdir()) - set(saved):
            new.unlink()
        for old, content in saved.items():
            old.write_bytes(content)


@pytest.mark.parametrize(
    "line",
    ["[]", "null", "1", "{}", "[" * 100_000, '{"unit": [[]], "digest": "", "masked": true, '
     '"counts": [], "seconds": 0.1}', '{"unit": [0], "digest": [], "masked": true, "counts": [], '
     '"seconds": 0.1}', '{"unit": [0], "digest": "", "masked": true, "counts": ["x"], '
     '"seconds": 0.1}', '{"unit": [-1], "digest": "", "masked": true, "counts": [], '
     '"seconds": 0.1}', '{"unit": [0], "digest": "", "masked": 1, "counts": [], "seconds": null}'],
)  # fmt: skip
def test_lines_that_no_run_has_written(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Record.from_line(line)


def store(folder: Path, content: bytes, **described: Any) -> str:
    """A Zarr array of the second format with one chunk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    plain = {"zarr_format": 2, "shape": [16, 16], "chunks": [16, 16], "dtype": "<f4", "order": "C",
             "compressor": None, "filters": None, "fill_value": 0}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(plain | described))
    (folder / "0.0").write_bytes(content)
    return str(folder)


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    "described",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "pickle"}]},
        {"dtype": "|O", "fill_value": "", "filters": [{"id": "pickle"}]},
        {"dtype": "|O", "fill_value": "", "filters": [{"id": "vlen-utf8"}],
         "compressor": {"id": "pickle"}},
        {"dtype": "|O", "fill_value": "", "filters": [{"id": "json2"}]},
    ],
)  # fmt: skip
def test_a_store_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: dict[str, Any]
) -> None:
    # As numcodecs was before 0.16.
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    path = store(tmp_path / "x.zarr", pickle.dumps(Evil(tmp_path / "ran")), **described)
    with pytest.raises(ConvsmithError):
        np.asarray(open_mask(path)[...])
    with pytest.raises(ConvsmithError):
        open_source(path, dims=2, channels=1, memory=1 << 30).read(0, [(0, 16), (0, 16)])
    assert not (tmp_path / "ran").exists()


def test_every_ordinary_codec_is_opened(tmp_path: Path) -> None:
    import numcodecs

    values = np.arange(256, dtype="f4").reshape(16, 16)
    for number, words in enumerate([
        {}, {"shards": (8, 16)}, {"zarr_format": 2},
        {"zarr_format": 2, "filters": [numcodecs.Delta("f4")], "compressors": numcodecs.Blosc()},
        {"zarr_format": 2, "compressors": numcodecs.LZ4()},
        {"compressors": [zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]},
    ]):  # fmt: skip
        path = str(tmp_path / f"{number}.zarr")
        array = zarr.create_array(path, shape=(16, 16), chunks=(8, 8), dtype="f4", **words)
        array[...] = values
        assert (np.asarray(open_mask(path)[...]) == values).all()
    with pytest.raises(DataError, match="not numbers"):
        open_mask(store(tmp_path / "text.zarr", b"", dtype="<U4", fill_value=""))


@pytest.mark.parametrize("place", ["x.zarr/0.0", "x.zarr/.zarray", "x.npy", "x.tif", "x.png"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, place: str) -> None:
    path = store(tmp_path / "x.zarr", b"")
    pipe = tmp_path / place
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    for read in (open_mask, lambda p: open_source(p, dims=2, channels=1, memory=1 << 30)):
        with pytest.raises(DataError, match=r"neither a file nor a folder|is not a file"):
            read(path if "zarr" in place else str(pipe))


@pytest.mark.parametrize("inner", ["../secret.zarr", "/secret.zarr", "a/../../secret.zarr"])
def test_a_pyramid_stays_within_itself(tmp_path: Path, inner: str) -> None:
    store(tmp_path / "secret.zarr", bytes(1024))
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    group.attrs["multiscales"] = [{"datasets": [{"path": inner}]}]
    with pytest.raises(DataError, match="names a level outside itself"):
        open_source(str(tmp_path / "x.zarr"), dims=2, channels=1, memory=1 << 30)
