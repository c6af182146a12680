"""Libraries for Android and macOS: run where something stands in, and read as files."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch import nn

pytest.importorskip("halide")

import convsmith as cs
from convsmith.exporting.library.targets import TARGETS
from tests.exporting.networks import settled
from tests.exporting.test_library import Small

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ziglang"), reason="no ziglang (pip install ziglang)"),
]
PUBLIC = {"net_create", "net_destroy", "net_run", "net_supported"}
OF_C = {"abort", "free", "malloc", "memcpy", "memset"}


def symbols_of_apple(content: bytes) -> tuple[set[str], set[str]]:
    """What a Mach-O file offers, and what it asks for (its table of symbols)."""
    number, place = struct.unpack_from("<I", content, 16)[0], 32
    for _ in range(number):
        command, size = struct.unpack_from("<2I", content, place)
        if command == 2:  # LC_SYMTAB
            first, count, strings, _ = struct.unpack_from("<4I", content, place + 8)
        place += size
    offered, wanted = set(), set()
    for at in range(first, first + 16 * count, 16):
        name, kind, _section, _more, _value = struct.unpack_from("<I2BHQ", content, at)
        text = content[strings + name : content.index(b"\0", strings + name)].decode()
        if kind & 1:  # external
            (offered if kind & 0x0E else wanted).add(text)
    return offered, wanted


@pytest.mark.parametrize("target", TARGETS)
def test_another_name(tmp_path: Path, target: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    options = {"target": target, "name": "tiny", "check": False}
    written = cs.export(model, (1, 3, 8, 8), tmp_path / "out", **options)
    assert TARGETS[target].shared("tiny") in written.files and "tiny.h" in written.files
    for file in (tmp_path / "out").iterdir():
        named = "net" in file.stem.split("_")
        texts = () if file.suffix in (".a", ".so", ".dylib", ".wasm", ".bin") else (file,)
        assert not named and not any(re.search(r"\b_?net\b|\b_?net_", t.read_text()) for t in texts)


def test_macos(tmp_path: Path) -> None:
    written = cs.export(
        settled(Small()).eval(), (2, 3, 18, 21), tmp_path / "out", target="aarch64-macos"
    )
    assert "libnet.dylib" in written.files and "libnet.a" in written.files
    assert "libnet.dylib" in (tmp_path / "out/README.md").read_text()
    content = (tmp_path / "out/libnet.dylib").read_bytes()
    magic, processor, _, kind = struct.unpack_from("<4I", content)
    assert (magic, processor, kind) == (0xFEEDFACF, 0x0100000C, 6)  # 64 bits, arm64, a library
    offered, wanted = symbols_of_apple(content)
    assert {f"_{name}" for name in PUBLIC} <= offered
    assert not any("neon" in name for name in offered)
    own = {"__tlv_bootstrap", "dyld_stub_binder", "_bzero", "___memcpy_chk", "___memset_chk"}
    assert wanted <= {f"_{name}" for name in OF_C} | own
    if not TARGETS["aarch64-macos"].is_here:
        assert written.checked == (
            "not checked: no such machine here, and none that stands in for it"
        )


@pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("readelf")), reason="no QEMU or readelf"
)
def test_android(tmp_path: Path) -> None:
    written = cs.export(
        settled(Small()).eval(), (2, 3, 18, 21), tmp_path / "out", target="aarch64-android"
    )
    assert written.checked == "run by qemu-aarch64, it agrees with the model"
    assert written.error is not None and written.error <= 1e-5

    def read(*options: str) -> str:
        words = ["readelf", "-W", *options, "libnet.so"]
        return subprocess.run(
            words, cwd=tmp_path / "out", capture_output=True, text=True, check=True
        ).stdout

    assert "AArch64" in read("-h")
    assert read("-d").count("(NEEDED)") == 1 and "Shared library: [libc.so]" in read("-d")
    rows = [line.split() for line in read("--dyn-syms").splitlines() if " GLOBAL " in line]
    assert {row[-1] for row in rows if row[-2] != "UND"} == PUBLIC
    assert {row[-1] for row in rows if row[-2] == "UND"} <= OF_C
    loads = [line.split() for line in read("-l").splitlines() if line.split()[:1] == ["LOAD"]]
    assert loads and all(int(row[-1], 16) % 16384 == 0 for row in loads)
