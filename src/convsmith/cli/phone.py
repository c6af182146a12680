"""The end of `convsmith demo --phone`: the light network as C libraries, run on held-out digits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.errors import ConvsmithError, kind_and_line
from convsmith.exporting import ExportedLibrary, export
from convsmith.exporting.library.targets import TARGETS
from convsmith.exporting.library.toolchain import toolchain_for
from convsmith.exporting.library.trial import cannot_run, running
from convsmith.report import Column, Table

__all__ = ["on_phones", "phone_table"]

DIGITS = 50
"""As many are recognised, each by a process of its own: an emulator takes its time."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def on_phones(
    model: nn.Module, images: Tensor, labels: Tensor, folder: Path
) -> list[dict[str, Any]]:
    """Export a network for a phone and for browsers, and run it there on digits.

    Args:
        model: from images (N, 1, 8, 8) to logits (N, 10).
        images: digits that it was not trained on.
        labels: which they are.
        folder: gets a folder for each machine.

    Returns:
        A row for each machine: what ran it, and how many digits it recognised; or, as `reason`, why
        it did not run.

    Raises:
        ConvsmithError: where the answers are not those of PyTorch.
    """
    # Of every class: they are held out class by class.
    chosen = torch.linspace(0, len(images) - 1, DIGITS).long()
    images, labels = images[chosen], labels[chosen]
    with torch.no_grad():
        expected = torch.cat([model(image[None]) for image in images])
    rows = []
    for name in ("aarch64-linux", "wasm32"):
        row: dict[str, Any] = {"machine": name, "by": TARGETS[name].emulator}
        rows.append(row)
        try:
            written = export(model, images[:1], folder / name, target=name, force=True)
        except ConvsmithError as error:
            row["reason"] = str(error)
            continue
        assert isinstance(written, ExportedLibrary)
        row |= {"library": written.library, "weights": written.weights}
        if reason := cannot_run(TARGETS[name]):
            row["reason"] = reason
            continue
        found = _logits(written, images)
        row |= _compared(expected, found, labels)
    web = rows[-1]
    if "library" in web:
        page = {"machine": "wasm32, its page", "by": "chromium"}
        rows.append(page | _in_page(folder / "wasm32", images[0], labels[0], expected[0]))
    return rows


def _logits(written: ExportedLibrary, images: Tensor) -> Tensor:
    target = TARGETS[written.target]
    tools = toolchain_for(target)
    with running(written.path, "net", target, tools, [(1, 10)]) as run:
        return torch.cat([run([image[None].contiguous()])[0] for image in images])


def _compared(expected: Tensor, found: Tensor, labels: Tensor) -> dict[str, Any]:
    answers = found.argmax(1)
    same = int((answers == expected.argmax(1)).sum())
    if same != len(labels):
        raise ConvsmithError(f"{len(labels) - same} of {len(labels)} answers are not PyTorch's")
    return {
        "digits": len(labels),
        "recognised": int((answers == labels).sum()),
        "difference": float((found - expected).abs().max() / expected.abs().max()),
    }


def _in_page(folder: Path, image: Tensor, label: Tensor, expected: Tensor) -> dict[str, Any]:
    """What the page says of one digit, which it is given as a picture."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        return {"reason": "no Chromium is installed (apt-get install chromium)"}
    if not (find_spec("playwright") and find_spec("PIL")):
        return {"reason": "it is driven by Playwright (pip install playwright pillow)"}
    from PIL import Image

    picture = folder / "digit.png"
    Image.fromarray((255 * image[0]).round().to(torch.uint8).numpy()).save(picture)
    try:
        shown = dict(_shown(folder, picture, browser))
    except Exception as error:  # of a browser: it is no part of what was exported
        return {"reason": kind_and_line(error)}
    found = torch.tensor([shown.get(number, -torch.inf) for number in range(10)])
    if found.argmax() != expected.argmax():
        raise ConvsmithError(f"the page's answer is {found.argmax()}, not {expected.argmax()}")
    best = expected.max()
    return {
        "digits": 1,
        "recognised": int(found.argmax() == label),
        "difference": float((found.max() - best).abs() / expected.abs().max()),
    }


def _shown(folder: Path, picture: Path, browser: str) -> Iterator[tuple[int, float]]:
    """The largest values in the page, each with its number."""
    from playwright.sync_api import sync_playwright

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        Thread(target=server.serve_forever, daemon=True).start()
        chromium = playwright.chromium.launch(executable_path=browser)
        page = chromium.new_page(viewport={"width": 720, "height": 720})
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.get_by_text("Ready.").wait_for()
        page.set_input_files("#file", picture)
        page.wait_for_selector("td")
        words = page.inner_text("#largest").split()
        page.screenshot(path=folder / "page.png")
        chromium.close()
        server.shutdown()
    yield from zip(map(int, words[::2]), map(float, words[1::2]), strict=True)


def phone_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of `on_phones`."""
    numbers = {"digits": "digits", "recognised": "recognised", "difference": "from PyTorch",
               "library": "bytes of code", "weights": "of weights"}  # fmt: skip
    formats: dict[str, Any] = {"difference": "{:.1e}".format}
    return Table(
        [
            Column("machine", "machine"),
            Column("by", "run by"),
            *(
                Column(key, title, align="right", format=formats.get(key, "{:,}".format))
                for key, title in numbers.items()
            ),
            Column("reason", "not run", wrap=True),
        ],
        rows,
        title="The light network beyond Python",
        note="Each digit's answer is the one of PyTorch; 'from PyTorch': the largest difference of "
        "a logit, over the largest logit; pictures have 8 bits.",
    )
