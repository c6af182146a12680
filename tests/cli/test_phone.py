"""The end of the demonstration: digits on a phone and in a browser, or why not."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytest.importorskip("halide")
pytest.importorskip("sklearn")

from convsmith.cli.demo import DigitsNet
from convsmith.cli.holdout import train_and_test
from convsmith.cli.phone import DIGITS, on_phones, phone_table
from convsmith.exporting.library import toolchain, trial
from convsmith.exporting.library.targets import Target

PROGRAMS = "qemu-aarch64", "node", "chromium"


def rows_of(folder: Path) -> list[dict[str, object]]:
    torch.manual_seed(0)
    _, test = train_and_test("digits", share=0.3, seed=0)
    assert test.labels is not None
    return on_phones(DigitsNet().eval(), test.images[:], test.labels, folder)


@pytest.mark.slow
@pytest.mark.skipif(
    not all([find_spec("ziglang"), find_spec("playwright"), *map(shutil.which, PROGRAMS)]),
    reason="no ziglang, Playwright, qemu-aarch64, Node or Chromium",
)
def test_the_same_answers_everywhere(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    assert [row.get("digits", row.get("reason")) for row in rows] == [DIGITS, DIGITS, 1]
    assert all(row["difference"] < 1e-3 for row in rows)
    assert (tmp_path / "wasm32/page.png").stat().st_size
    assert not list(tmp_path.glob("*/*.raw")) and not (tmp_path / "aarch64-linux/main").exists()
    assert "qemu-aarch64" in str(phone_table(rows))


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    rows = rows_of(tmp_path)
    assert [row["machine"] for row in rows] == ["aarch64-linux", "wasm32"]
    assert all("pip install 'convsmith[library]'" in str(row["reason"]) for row in rows)
    assert "pip install" in str(phone_table(rows))


def test_without_an_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial.shutil, "which", lambda name: None)
    target = Target("m", "arm-64-linux", ("neon",), "", "", (), "qemu-aarch64", "qemu-user")
    reason = "qemu-aarch64 is not installed (apt-get install qemu-user)"
    assert trial.cannot_run(target) == reason
