"""The page of a library for browsers: drawings, broken pictures, a worker that computes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("halide")

import convsmith as cs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ziglang"), reason="no ziglang (pip install ziglang)"),
]


class Grey(nn.Module):
    """Ten means of a map of one channel: a drawing anywhere changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of one image."""
        return self.conv(x).relu().mean((2, 3))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Grey().eval()


@pytest.fixture(scope="module")
def address(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served."""
    folder = tmp_path_factory.mktemp("page") / "out"
    written = cs.export(model, (1, 1, 8, 8), folder, target="wasm32", name="data", check=False)
    assert "data.worker.js" in written.files
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


SEEN = """() => [...document.getElementById("seen").getContext("2d")
  .getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)"""


def test_a_drawing(open_page: Any, address: str, model: nn.Module) -> None:
    page = open_page(address)
    page.get_by_text("Ready.").wait_for()
    assert [worker.url.rpartition("/")[2] for worker in page.workers] == ["data.worker.js"]
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    for step in range(1, 7):
        share = 0.2 + 0.1 * step
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
    page.mouse.up()
    page.wait_for_selector("td")

    def shown() -> list[float]:
        return [float(word) for word in page.inner_text("#largest").split()[1::2]]

    for _ in range(100):  # what was drawn last may still be on its way
        image = torch.tensor(page.evaluate(SEEN)).reshape(1, 1, 8, 8).float() / 255
        with torch.no_grad():
            expected = model(image)[0].sort(descending=True)[0][:5].tolist()
        if shown() == pytest.approx(expected, rel=1e-3):
            break
        page.wait_for_timeout(50)
    assert shown() == pytest.approx(expected, rel=1e-3)
    assert image[0, 0].diagonal().max() > 0.5 and image[0, 0, 0, 7] == 0
    page.click("#clear")
    assert page.inner_text("#largest") == "" and not any(page.evaluate(SEEN))


def test_no_picture(open_page: Any, address: str, tmp_path: Path) -> None:
    page = open_page(address)
    page.get_by_text("Ready.").wait_for()
    (tmp_path / "broken.png").write_bytes(base64.b64decode("iVBORw0KGgo="))
    page.set_input_files("#file", tmp_path / "broken.png")
    page.get_by_text("broken.png is not a picture").wait_for()
