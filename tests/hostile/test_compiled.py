"""Compiled networks that are damaged or forged: refused in one line, or right; never a crash."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.runtime.stored.container import Container, packed
from tests.hostile import flipping
from tests.hostile.mutation import ends_well, fuzzed, mutant, mutant_json
from tests.thoroughness import THOROUGH

PROCESSES = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def file(place: Path) -> tuple[Path, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    fast, image = cs.compile(net, (1, 3, 8, 8), threads=1), torch.rand(1, 3, 8, 8)
    return fast.save(place / "net.cvs"), image, fast(image)


def unsigned(path: Path, content: bytes) -> Path:
    """What a stranger would have written."""
    path.write_bytes(content[:-32] + bytes(32))
    return path


@pytest.mark.slow
def test_flipped_bytes(file: tuple[Path, Tensor, Tensor], place: Path) -> None:
    path, image, expected = file
    torch.save((image, expected), place / "values.pt")
    # A nightly run tries each tenth, CI each 31st: what is stored in words is met at every byte.
    step = 10 if "CONVSMITH_FUZZ" in os.environ else 31 if THOROUGH else 301
    words = [sys.executable, flipping.__file__, str(path), str(place / "values.pt")]
    running = [
        subprocess.Popen(
            [*words, str(place / f"{n}.cvs"), str(n * step), str(PROCESSES * step)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for n in range(PROCESSES)
    ]
    refused = right = 0
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err
        counts = list(map(int, out.split()))
        refused, right = refused + counts[0], right + counts[1]
    # Right are those in gaps, in the signature and in the program, which is read where it is used.
    assert refused + right == -(-path.stat().st_size // step)
    assert refused > right > 0


@fuzzed(40, 4000)
def test_mutants(file: tuple[Path, Tensor, Tensor], place: Path, seed: int) -> None:
    """Bytes put in, left out, repeated: by lengths and digests alone."""
    path = place / "mutant.cvs"
    path.write_bytes(mutant(file[0].read_bytes(), Random(seed)))
    with ends_well():
        cs.load(path, trust=True)


@fuzzed(12, 150)  # about a second each where it is well-formed
def test_forged_documents(file: tuple[Path, Tensor, Tensor], place: Path, seed: int) -> None:
    """What a stranger can write with right digests, read as a stranger's file is."""
    container = Container.open(file[0])
    document = {key: container.document[key] for key in ("name", "version", "threads", "sizes")}
    parts = {"source": container.part("source").tobytes()}
    # NaN and infinities are no JSON.
    document = json.loads(
        re.sub("-?Infinity|NaN", "1e300", json.dumps(mutant_json(document, Random(seed))))
    )
    with ends_well():
        cs.load(unsigned(place / "forged.cvs", packed(document, parts)))


def test_a_forged_program_runs_no_code(file: tuple[Path, Tensor, Tensor], place: Path) -> None:
    container = Container.open(file[0])
    source = container.part("source").tobytes()
    forged = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(source)) as honest, zipfile.ZipFile(forged, "w") as archive:
        for name in honest.namelist():
            content = honest.read(name)
            if name.endswith(".json"):
                content = content.replace(b"aten.relu.default", b"aten.from_file.default")
            archive.writestr(name, content)
    assert b"from_file" in forged.getvalue()
    document = {key: container.document[key] for key in ("name", "version", "threads", "sizes")}
    content = packed(document, {"source": forged.getvalue()})
    with pytest.raises(cs.ModelError, match="opens a file"):
        cs.load(unsigned(place / "forged.cvs", content))


HUGE = 10**12


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93convsmith net\r\n",
        b"\x93convsmith net\r\n" + struct.pack("<IIQ", 1, 0, HUGE) + bytes(64),
        b"\x93convsmith net\r\n" + struct.pack("<IIQ", 7, 0, 0) + bytes(64),
        b"\x93convsmith net\r\n" + struct.pack("<IIQ", 1, 0, 2**64 - 1) + bytes(64),
        b"PK\3\4" + bytes(200),
    ],
)
def test_files_that_are_hardly_one(place: Path, content: bytes) -> None:
    (place / "odd.cvs").write_bytes(content)
    with ends_well(), pytest.raises(cs.ModelError, match=r"odd\.cvs"):
        cs.load(place / "odd.cvs")


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"document": {}, "parts": {"a": [0, 1000000000000, "x"]}}',
        b'{"document": {}, "parts": {"a": [-64, 64, "x"]}}',
        b'{"document": {}, "parts": {"a": [1e308, "x", []]}}',
        b'{"document": 7, "parts": {}}',
        b"\xff\xfe",
    ],
)
def test_headers_that_are_hardly_one(place: Path, header: bytes) -> None:
    head = b"\x93convsmith net\r\n" + struct.pack("<IIQ", 1, 0, len(header)) + header
    (place / "odd.cvs").write_bytes(head + sha256(head).digest() + bytes(128))
    with ends_well(), pytest.raises(cs.ModelError, match=r"odd\.cvs is damaged"):
        cs.load(place / "odd.cvs")


@pytest.mark.parametrize("size", [[1, 3, HUGE, HUGE], [1, 3, -1, 8], [1, 3, 8], []])
def test_sizes_beyond_memory_or_reason(
    file: tuple[Path, Tensor, Tensor], place: Path, size: Any
) -> None:
    container = Container.open(file[0])
    document: dict[str, Any] = {"name": "x", "version": "x", "threads": 1}
    document["sizes"] = [
        {"tuple": [{"tuple": [{"shape": size, "dtype": "float32"}]}, {"dict": []}]}
    ]
    content = packed(document, {"source": container.part("source").tobytes()})
    with ends_well(), pytest.raises(cs.ConvsmithError):
        cs.load(unsigned(place / "forged.cvs", content))


def test_the_key_is_for_this_user_alone(file: tuple[Path, Tensor, Tensor]) -> None:
    from convsmith.machine import cache_folder

    assert Container.open(file[0]).is_own
    key = cache_folder() / "signing-key.bin"
    assert key.stat().st_mode & 0o077 == 0
    # Another key, as on another machine: the file is a stranger's.
    kept = key.rename(key.with_suffix(".kept"))
    try:
        assert not Container.open(file[0]).is_own
    finally:
        kept.replace(key)
    assert Container.open(file[0]).is_own


def test_a_pipe_is_not_waited_for(place: Path) -> None:
    os.mkfifo(place / "pipe.cvs")
    with pytest.raises(cs.ModelError, match="no file"):
        cs.load(place / "pipe.cvs")
