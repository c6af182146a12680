"""A browser, and pages that remember what went wrong in them."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmarks.chromium import FLAGS

__all__ = ["chromium", "open_page"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium():
    sync = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CONVSMITH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
    if not path:
        pytest.skip("no Chromium is installed")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that remembers what went wrong in it, and what it asked of other machines."""

    def __init__(self, browser, width):
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.errors, self.outside = [], []
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", self._asked)

    def _said(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:", "about:")):
            self.outside.append(request.url)

    def close(self):
        self.page.close()
        assert not self.errors, self.errors
        assert not self.outside, self.outside


@pytest.fixture
def open_page(chromium):
    opened = []

    def open_at(url, width=1100):
        watched = Watched(chromium, width)
        opened.append(watched)
        watched.page.goto(url)
        return watched.page

    yield open_at
    for watched in opened:
        watched.close()
