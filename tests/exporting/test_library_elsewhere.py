"""Libraries for other machines, in an emulator or in Node: what the model gives in float64."""

from __future__ import annotations

import copy
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from hypothesis import given, reject
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

pytest.importorskip("halide")

import convsmith as cs
from convsmith.exporting.library.targets import target_named
from convsmith.exporting.library.toolchain import toolchain_for
from convsmith.exporting.library.trial import running
from convsmith.kernels.isa import CROSS
from tests.exporting.networks import settled
from tests.exporting.test_library import Small
from tests.exporting.varied import VARIED
from tests.runtime.test_random_blocks import lively
from tests.runtime.test_random_networks import Network, networks
from tests.thoroughness import examples

EMULATED = pytest.mark.skipif(
    not (find_spec("ziglang") and shutil.which("qemu-aarch64")),
    reason="no ziglang, or no qemu-aarch64 (pip install ziglang, apt-get install qemu-user)",
)
IN_NODE = pytest.mark.skipif(
    not (find_spec("ziglang") and shutil.which("node")),
    reason="no ziglang, or no Node (pip install ziglang, apt-get install nodejs)",
)
ELSEWHERE = [
    pytest.param("aarch64-linux", marks=EMULATED), pytest.param("wasm32", marks=IN_NODE),
]  # fmt: skip


def agree(folder: Path, model: nn.Module, image: Tensor, target: str) -> None:
    """A library for another machine gives what the model gives in float64."""
    cs.export(model, image, folder, target=target, check=False)
    exact = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        expected = tree_leaves(exact(image.double()))
    machine, shapes = target_named(target), [tuple(each.shape) for each in expected]
    with running(folder, "net", machine, toolchain_for(machine), shapes) as run:
        found = run([image.contiguous()])
    for one, other in zip(expected, found, strict=True):
        assert one.abs().max() > 0
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("target", ELSEWHERE)
@pytest.mark.parametrize("name", VARIED)
def test_ten_architectures(tmp_path: Path, name: str, target: str) -> None:
    make, shape = VARIED[name]
    agree(tmp_path / "out", lively(make()), torch.randn(shape), target)


@pytest.mark.slow
@EMULATED
def test_neon(tmp_path: Path) -> None:
    written = cs.export(settled(Small()), (2, 3, 18, 21), tmp_path / "out", target="aarch64-linux")
    assert written.checked == "run by qemu-aarch64, it agrees with the model"
    assert written.error is not None and written.error <= 1e-5
    assert not (tmp_path / "out/moves.c").exists()  # which is for x86-64


@pytest.mark.slow
@pytest.mark.parametrize("target", ELSEWHERE)
@examples(4)
@given(drawn=networks())
def test_random_networks(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Network, Tensor], target: str
) -> None:
    try:
        agree(tmp_path_factory.mktemp("random") / "out", *drawn, target)
    except cs.ConvsmithError as error:
        if "only torch computes" not in str(error):
            raise
        reject()


@pytest.mark.slow
@IN_NODE
def test_web_assembly(tmp_path: Path) -> None:
    shape = (2, 3, 18, 21)
    written = cs.export(settled(Small()), shape, tmp_path / "out", target="wasm32", name="tiny")
    assert written.checked == "run by node, it agrees with the model"
    assert written.error is not None and written.error <= 1e-5
    assert {"tiny.wasm", "tiny.js", "tiny.h", "libtiny.a"} <= {*written.files}


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("ziglang"), reason="no ziglang")
def test_page(tmp_path: Path, chromium: Any) -> None:
    """The page runs the network on a picture of its own size, and shows the largest values."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    cs.export(model.eval(), (1, 3, 24, 32), tmp_path / "out", target="wasm32", check=False)
    pixels = torch.randint(0, 256, (24, 32, 3), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "picture.png")
    with torch.no_grad():
        expected = model(pixels.permute(2, 0, 1)[None].float() / 255)[0]
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "out")
    errors: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = chromium.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.get_by_text("Ready.").wait_for()
        page.set_input_files("#file", tmp_path / "picture.png")
        page.wait_for_selector("td")
        shown = page.inner_text("#largest").split()
        page.close()
        server.shutdown()
    assert not errors
    assert [int(number) for number in shown[::2]] == expected.argsort(descending=True)[:5].tolist()
    assert float(shown[1]) == pytest.approx(float(expected.max()), rel=1e-3)


def test_tiles_of_neon() -> None:
    """Sums, the values they are made of and the weights fit into 32 registers of four lanes."""
    neon = CROSS["neon"]
    for channels, lengths in neon.tiles:
        assert channels // 4 * max(lengths) + channels // 4 + 1 <= 32
    for wide in (16, 32, 48):
        assert wide % neon.tile(wide) == 0


def test_the_line_that_installs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convsmith.exporting.library import toolchain

    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(cs.MissingExtra, match=r"aarch64-linux needs .*ziglang: pip install"):
        cs.export(Small(), (1, 3, 8, 8), tmp_path / "out", target="aarch64-linux")
    assert not (tmp_path / "out").exists()
