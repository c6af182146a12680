"""Every reader ends well with files that are almost right: a result, or one line of our own."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from csv import reader
from pathlib import Path
from random import Random
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

import convsmith as cs
from convsmith.cli.data import load_images
from convsmith.cli.idx import read_idx
from convsmith.cli.weights import load_weights, read_weights
from convsmith.draw.reading import read_values
from convsmith.errors import ConvsmithError
from convsmith.explore.serve import _refusal
from convsmith.explore.state import LayerState
from convsmith.network.stored.program import load_program
from convsmith.report import Column, Table
from convsmith.rewrite import Timing
from convsmith.tiling.stores.opening import open_mask, open_source
from tests.hostile.mutation import STRANGE, as_json, ends_well, fuzzed, mutant, mutant_json


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1)
    ).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


@pytest.fixture(scope="module")
def recipes(place: Path) -> list[Path]:
    light = cs.lighten(
        network(), torch.rand(16, 3, 8, 8), multiplier=1, timing=Timing(compiled=False)
    )
    wide = cs.dilate(network(), (1, 3, 16, 16), output_stride=1)
    return [light.save(place / "light"), wide.save(place / "wide")]


@fuzzed(60)
def test_recipes(recipes: list[Path], place: Path, seed: int) -> None:
    random = Random(seed)
    folder = random.choice(recipes)
    document = json.loads((folder / "recipe.json").read_text())
    document["report"] = {}
    target = place / "mutant"
    target.mkdir(exist_ok=True)
    weights = (folder / "model.safetensors").read_bytes()
    recipe = as_json(document)
    if random.random() < 0.7:
        recipe = as_json(mutant_json(document, random))
    elif random.random() < 0.5:
        recipe = mutant(recipe, random)
    else:
        weights = mutant(weights, random)
    (target / "recipe.json").write_bytes(recipe)
    (target / "model.safetensors").write_bytes(weights)
    with ends_well():
        cs.load(target, network())


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000, "", "\0", "NaN", "\ufeff{}"]
)
def test_recipes_that_are_hardly_json(recipes: list[Path], place: Path, text: str) -> None:
    target = place / "odd"
    target.mkdir(exist_ok=True)
    (target / "recipe.json").write_text(text)
    with pytest.raises(cs.ConvsmithError, match=r"recipe\.json"):
        cs.load(target, network())


@fuzzed(60)
def test_weights(place: Path, seed: int) -> None:
    random = Random(seed)
    data = save({"0.weight": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4)})
    length = struct.unpack("<Q", data[:8])[0]
    suffix = ".safetensors"
    kind = random.randrange(3)
    if kind == 0:
        head = as_json(mutant_json(json.loads(data[8 : 8 + length]), random))
        data = struct.pack("<Q", len(head)) + head + data[8 + length :]
    elif kind == 1:
        data = mutant(data, random)
    else:
        stream = io.BytesIO()
        torch.save({"0.weight": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4)}, stream)
        data, suffix = mutant(stream.getvalue(), random), ".pth"
    path = place / f"mutant{suffix}"
    path.write_bytes(data)
    with ends_well():
        read_weights(path)
    with ends_well():
        load_weights(nn.Sequential(nn.Conv2d(3, 4, 3)), path)


@pytest.fixture(scope="module")
def members(place: Path) -> dict[str, bytes]:
    """The members of an honest program."""
    path = place / "net.pt2"
    torch.export.save(torch.export.export(network(), (torch.zeros(1, 3, 8, 8),)), path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@fuzzed(25, 2000)  # nine milliseconds each
def test_programs(members: dict[str, bytes], place: Path, seed: int) -> None:
    random = Random(seed)
    changed = dict(members)
    name = random.choice(list(changed))
    if name.endswith(".json") and random.random() < 0.8:
        changed[name] = as_json(mutant_json(json.loads(changed[name]), random))
    elif random.random() < 0.8:
        changed[name] = mutant(changed[name], random)
    else:
        del changed[name]
    path = place / "mutant.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in changed.items():
            archive.writestr(key, content)
    if random.random() < 0.1:
        path.write_bytes(mutant(path.read_bytes(), random))
    with ends_well():
        load_program(path)


@fuzzed(100)
def test_idx(place: Path, seed: int) -> None:
    random = Random(seed)
    data = struct.pack(">HBB3I", 0, 8, 3, 2, 4, 4) + bytes(32)
    zipped = random.random() < 0.5
    data = mutant(data, random) if random.random() < 0.7 else data
    data = mutant(gzip.compress(data), random) if zipped else data
    path = place / ("x-images-idx3-ubyte" + (".gz" if zipped else ""))
    path.write_bytes(data)
    with ends_well():
        read_idx(path, 3)
    path.unlink()


@fuzzed(100)
def test_images(place: Path, seed: int) -> None:
    random = Random(seed)
    kind = random.choice(("png", "jpeg", "bmp", "webp", "tiff", "ppm"))
    stream = io.BytesIO()
    pixels = numpy.arange(8 * 6 * 3, dtype=numpy.uint8).reshape(8, 6, 3)
    Image.fromarray(pixels).save(stream, kind)
    folder = place / "images"
    folder.mkdir(exist_ok=True)
    path = folder / f"mutant.{kind}"
    path.write_bytes(mutant(stream.getvalue(), random))
    with ends_well():
        load_images(str(folder))
    with ends_well():
        read_values(str(path), (4, 4), 3)
    path.unlink()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_a_picture_starts_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Pillow reads PostScript by Ghostscript, whatever the file is called."""

    def ghostscript(*given: Any, **more: Any) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", ghostscript)
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(POSTSCRIPT)
    for read in (
        lambda: load_images(str(tmp_path)),
        lambda: read_values(str(path), (4, 4), 3),
        lambda: open_source(str(path), dims=2, channels=3, memory=1 << 30),
        lambda: open_mask(str(path)),
    ):
        with pytest.raises(ConvsmithError):
            read()


def test_a_small_file_does_not_unpack_to_a_huge_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    side = 8000
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ))  # fmt: skip
    assert path.stat().st_size < 20_000
    for read in (
        lambda: load_images(str(tmp_path)),
        lambda: read_values(str(path), (4, 4), 3),
        lambda: open_mask(str(path)),
    ):
        with pytest.raises(ConvsmithError, match="would unpack to 8000×8000 pixels"):
            read()


@fuzzed(100)
def test_numbers_for_a_drawing(place: Path, seed: int) -> None:
    random = Random(seed)
    suffix = random.choice(("csv", "json"))
    data = b"1,2,3\n4,5,6\n" if suffix == "csv" else b"[[1, 2], [3, 4.5]]"
    path = place / f"numbers.{suffix}"
    path.write_bytes(mutant(data, random))
    with ends_well():
        values = read_values(str(path), None, 1)
        cs.draw.animate(cs.Conv(1, 1, 1), (2, 2), values=values)


@fuzzed(100)
def test_names(seed: int) -> None:
    random = Random(seed)
    name = "".join(random.choice([*map(str, STRANGE), *map(chr, range(40))]) for _ in range(3))
    table = Table([Column("layer", "Layer"), Column("n", "n")], [(name, 1)], title=name)
    html, text, csv = table.to_html(), table.to_text(), table.to_csv()
    assert "\x1b" not in html + text + csv
    assert "<b>" not in html
    assert csv.count("\r\n") == 2 and csv.count("\n") == 2
    _, (cell, _) = reader(csv.splitlines())
    assert not cell.startswith(("=", "@"))


WORDS = ["kernel", "stride", "padding", "size", "in", "out", "groups", "kind", "mode", "bias",
         "dilation", "ceil", "output_padding", "model", "shape", "view"]  # fmt: skip


@fuzzed(200)
def test_addresses(seed: int) -> None:
    random = Random(seed)
    values = ["3", "3x2", "same", "1,2,3,4", "0", "-1", "9" * 30, "x", "", "conv", "zeros", "٣"]
    query = {
        random.choice(WORDS): random.choice([*values, *map(str, STRANGE)])
        for _ in range(random.randrange(6))
    }
    state, lines = LayerState.from_query(query)
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    with ends_well():
        state.layer()
    assert LayerState.from_query(state.to_query())[0] == state


@fuzzed(200)
def test_headers(seed: int) -> None:
    random = Random(seed)
    hosts = [b"127.0.0.1:2718", b"localhost", b"[", b"[::1", b"evil", b"127.0.0.1:x", b"", b"\xff"]
    headers: list[tuple[bytes, Any]] = [
        (random.choice([b"host", b"origin"]), mutant(random.choice(hosts), random))
        for _ in range(random.randrange(4))
    ]
    refusal = _refusal({"headers": headers})
    assert refusal is None or refusal[0] in (400, 403)
    if refusal is None:
        assert dict(headers)[b"host"].partition(b":")[0].lower() in (b"127.0.0.1", b"localhost")


@pytest.mark.parametrize(
    "host", [b"127\n.0.0.1:1", b"127.0.0.\r1:1", b"127.0.0.1?x:1", b"a@127.0.0.1:1", b"localhost:"]
)
def test_a_host_is_taken_as_written(host: bytes) -> None:
    assert _refusal({"headers": [(b"host", host)]}) is not None


@pytest.mark.parametrize("kind", ["recipe", "safetensors"])
def test_a_pipe_is_not_waited_for(recipes: list[Path], place: Path, kind: str) -> None:
    target = place / f"pipe-{kind}"
    shutil.copytree(recipes[0], target)
    file = target / ("recipe.json" if kind == "recipe" else "model.safetensors")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ConvsmithError):
        cs.load(target, network())
